"""From scored passages to what a search finds: each document once, with its best passage."""

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

# How many passages are looked up at first; after so many, documents are counted.
_FIRST, _MANY = 64, 1000
# Of a passage that stands in very many documents, so many are named.
_MOST_PLACES = 50


@dataclass(frozen=True)
class Hit:
    """A document, or a record of one, with its best passage.

    Attributes:
        path: absolute path of the file; of a text that was added without one, its id.
        first_line: where the passage begins, from 1; None in HTML and PDF, whose text has no
            lines that a person could look up.
        last_line: where it ends.
        score: what the order of hits follows: the relevance in mode "both", the cosine in
            "meaning", BM25 in "words".
        text: the passage.
        page: of a PDF file, from 1; None in others.
        headings: the headings above the passage, outermost first.
        cosine: of query and passage, from -1 to 1; None in mode "words".
        bm25: how well the words of the passage and of its path fit, from 0 up; None in mode
            "meaning".
        relevance: how likely the passage answers the query, from 0 to 1, as docs/search.md has it.
        others: more places of the same text, at most 50.
        state: whether the file is as it was indexed.
        id: of a text that was added without a file.
        metadata: of a text that was added without a file.

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


@dataclass(frozen=True)
class Scored:
    """Passages that may be hits.

    Attributes:
        ids: of the passages, (n,), best first.
        scores: what they are ordered by, (n,).
        scale: how a score becomes a relevance.
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
        """Order them by their scores, and equal ones by their ids."""
        order = np.lexsort((ids, -scores))
        parts = (None if part is None else part[order] for part in (cosines, bm25))
        return cls(ids[order], scores[order], scale, *parts)


@dataclass(frozen=True)
class _Row:
    """A passage where it stands: its position among the scored ones, and what its path adds."""

    number: int
    location: Location
    score: float
    of_path: float

    @property
    def order(self) -> tuple[object, ...]:
        """What rows sort by: the best first, and ties as in the files."""
        return (
            -self.score,
            order_of(self.location.path),
            self.location.record,
            self.location.first_line,
        )


def hits_of(
    store: Store, scored: Scored, n: int, paths: Scores | None, named: Ids, min_score: float | None
) -> tuple[list[Hit], int]:
    """Find the documents of passages, best first; of each, or of its records, the best passage.

    Args:
        store: an open collection, with its path filter set.
        scored: the passages.
        n: the most hits.
        paths: how well the paths of documents fit, which adds to the scores of their passages.
        named: ids of passages in the documents whose paths fit best.
        min_score: the least score of a hit.

    Returns:
        The hits, and how many there can be at most: n, or fewer where there are fewer.

    """
    most = max(_FIRST, 2 * n)
    while True:
        chosen = np.union1d(np.arange(min(most, len(scored.ids))), _locations_of(named, scored.ids))
        rows = sorted(_rows(store, scored, chosen, paths), key=lambda row: row.order)
        hits = _hits(store, scored, rows, n)
        if len(hits) >= n or most >= len(scored.ids):
            break
        if most >= _MANY:
            # A few long documents: not to go through all of their passages for one more.
            n = min(n, store.count_records())
            if len(hits) >= n:
                break
        most *= 4
    kept = [hit for hit in hits if min_score is None or hit.score >= min_score]
    return kept, n if len(kept) == len(hits) else len(kept)


def _locations_of(some: Ids, ids: Ids) -> Ids:
    """Positions (m,) of some ids among ids (n,)."""
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
    # A fused score is on a scale of its own for each query.
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
    )
