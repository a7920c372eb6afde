"""Turn scored passages into hits: each document once, with its best passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jlocal.collection.database.bm25 import Scores
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import Ids, order_of
from jlocal.collection.location import Location
from jlocal.collection.search.fusion import PATH_WEIGHT, Scale
from jlocal.collection.search.state import State, state_of
from jlocal.vectors import Floats

# Passages to look up at first; and the number after which documents are counted.
_FIRST, _MANY = 64, 1000
# The most locations that are named for one passage.
_MOST_PLACES = 50


@dataclass(frozen=True)
class Hit:
    """A document, or a record of one, with its best passage.

    Attributes:
        path: absolute path of the file, or the id of an added text.
        first_line: first line of the passage, from 1; None in PDF, HTML and other formats whose
            text has no lines that a user could look up.
        last_line: last line of the passage.
        score: hits are ordered by it: the relevance in mode "both", the cosine in "meaning", BM25
            in "words".
        text: the passage.
        page: of a PDF file, from 1; None for other files.
        headings: the headings above the passage, outermost first.
        cosine: the cosine of query and passage, from -1 to 1; None in mode "words".
        bm25: BM25 of the words of the passage and of its path, from 0 up; None in mode "meaning".
        relevance: the probability that the passage answers the query, see docs/search.md.
        others: other locations of the same text, at most 50.
        state: whether the file has changed since it was indexed.
        id: of an added text; None for files.
        metadata: of an added text.
        record: of the document, from 0; in PDF files each page is one.
        start: position of the passage in the record, in characters; see `Collection.read`.

    """

    path: str
    first_line: int | None
    last_line: int | None
    score: float
    text: str
    page: int | None = None
    headings: tuple[str, ...] = ()
    cosine: float | None = None
    bm25: float | None = None
    relevance: float = 0.0
    others: tuple[Location, ...] = ()
    state: State = "current"
    id: str | None = None
    metadata: Mapping[str, object] | None = None
    record: int = 0
    start: int = 0


@dataclass(frozen=True)
class Scored:
    """The candidates of a search.

    Attributes:
        ids: of the passages, (n,), best first.
        scores: the scores that order them, (n,).
        scale: maps a score to a relevance.
        cosines: of query and passage, (n,), or None.
        bm25: of their words, (n,), or None.

    """

    ids: Ids
    scores: Floats
    scale: Scale
    cosines: Floats | None = None
    bm25: Floats | None = None

    @classmethod
    def best_first(
        cls,
        ids: Ids,
        scores: Floats,
        scale: Scale,
        *,
        cosines: Floats | None = None,
        bm25: Floats | None = None,
    ) -> Scored:
        """Order candidates by their scores, and equal scores by their ids."""
        order = np.lexsort((ids, -scores))
        parts = (None if part is None else part[order] for part in (cosines, bm25))
        return cls(ids[order], scores[order], scale, *parts)


@dataclass(frozen=True)
class _Row:
    """A passage at a location: its position among the candidates, and the score of its path."""

    number: int
    location: Location
    score: float
    of_path: float

    @property
    def order(self) -> tuple[object, ...]:
        """The sort key: the best first, and ties in the order of the files."""
        return (
            -self.score,
            order_of(self.location.path),
            self.location.record,
            self.location.first_line,
        )


def hits_of(
    store: Store, scored: Scored, n: int, paths: Scores | None, named: Ids, min_score: float | None
) -> tuple[list[Hit], int]:
    """Find the documents or records of candidates, best first, each with its best passage.

    Args:
        store: an open collection, with its path filter set.
        scored: the candidates.
        n: the most hits.
        paths: BM25 of the documents' paths, which adds to the scores of their passages.
        named: ids of passages in the documents whose paths score best.
        min_score: the least score of a hit.

    Returns:
        The hits, and their largest possible number: n, or the number of documents.

    """
    limit = max(_FIRST, 2 * n)
    while True:
        chosen = np.union1d(
            np.arange(min(limit, len(scored.ids))), _locations_of(named, scored.ids)
        )
        rows = sorted(_rows(store, scored, chosen, paths), key=lambda row: row.order)
        hits = _hits(store, scored, rows, n)
        if len(hits) >= n or limit >= len(scored.ids):
            break
        if limit >= _MANY:
            # With a few long documents, stop before reading all of their passages for one more hit.
            n = min(n, store.count_records())
            if len(hits) >= n:
                break
        limit *= 4
    kept = [hit for hit in hits if min_score is None or hit.score >= min_score]
    return kept, n if len(kept) == len(hits) else len(kept)


def _locations_of(some: Ids, ids: Ids) -> Ids:
    """Return the positions (m,) of some ids among ids (n,)."""
    return np.flatnonzero(np.isin(ids, some)) if len(some) else np.empty(0, np.int64)


def _rows(store: Store, scored: Scored, numbers: Ids, paths: Scores | None) -> list[_Row]:
    ids = scored.ids[numbers]
    number_of = dict(zip(ids.tolist(), numbers.tolist(), strict=True))
    locations = store.locations(ids, _MOST_PLACES)
    documents = np.array([document for _, document, _ in locations], np.int64)
    of_paths = PATH_WEIGHT * paths.of(documents) if paths else np.zeros(len(locations))
    return [
        _Row(number, location, float(scored.scores[number]) + of_path, of_path)
        for (passage, _, location), of_path in zip(locations, of_paths.tolist(), strict=True)
        for number in [number_of[passage]]
    ]


def _hits(store: Store, scored: Scored, rows: Sequence[_Row], n: int) -> list[Hit]:
    hits: list[Hit] = []
    others: list[list[Location]] = []
    number_of: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    for row in rows:
        key = (row.location.path, row.location.record)
        if key in seen:
            continue
        seen.add(key)
        heading, text = store.text(int(scored.ids[row.number]))
        if text in number_of:
            others[number_of[text]].append(row.location)
        elif len(hits) < n:
            number_of[text] = len(hits)
            hits.append(_hit(store, scored, row, heading, text))
            others.append([])
        else:
            break
    pairs = zip(hits, others, strict=True)
    return [replace(hit, others=tuple(locations[:_MOST_PLACES])) for hit, locations in pairs]


def _hit(store: Store, scored: Scored, row: _Row, heading: str, text: str) -> Hit:
    first, last = row.location.lines
    path = row.location.path
    is_added, known = row.location.is_added, store.stamp(path)
    cosines, bm25 = scored.cosines, scored.bm25
    relevance = scored.scale.relevance(row.score)
    # Fused scores of different queries are not comparable.
    score = row.score if cosines is None or bm25 is None else relevance
    return Hit(
        *(path, first, last, score, text, row.location.page),
        headings=tuple(heading.splitlines()),
        cosine=None if cosines is None else float(cosines[row.number]),
        bm25=None if bm25 is None else float(bm25[row.number]) + row.of_path,
        relevance=relevance,
        state="current" if is_added or not known else state_of(path, known[0]),
        id=path if is_added else None,
        metadata=store.metadata(path) if is_added else None,
        record=row.location.record,
        start=row.location.start,
    )
