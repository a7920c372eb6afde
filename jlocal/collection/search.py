"""The nearest passages to a query: exact over few vectors, a first look at codes over many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jlocal.collection.codes import Bits, pack
from jlocal.collection.connect import plain_errors
from jlocal.collection.pathfilter import PathFilter, path_filter
from jlocal.collection.place import Place
from jlocal.collection.store import Store
from jlocal.collection.values import DamagedError, Ids
from jlocal.vectors import Floats

# Reading so many vectors from the file takes about as long as the codes of 100,000.
_EXACT = 5000
# How many candidates of the first look are compared exactly, for vectors of so many dimensions;
# fewer signs tell less, and need more candidates.
_CANDIDATES, _DIMENSIONS = 1000, 1024
# By how much two sums of the same components may differ.
_ROUNDING = 1e-4

Mode = Literal["both", "words", "meaning"]
MODES: tuple[Mode, ...] = ("both", "words", "meaning")

State = Literal["current", "changed", "missing"]


@dataclass(frozen=True)
class Hit:
    """A document, or a record of one, with its best passage.

    Attributes:
        path: absolute path of the file.
        first_line: where the passage begins, from 1; None in HTML and PDF, whose text has no
            lines that a person could look up.
        last_line: where it ends.
        score: what the order of hits follows: the fused score of mode "both", the cosine of
            "meaning", BM25 of "words".
        text: the passage.
        page: of a PDF file, from 1; None in others.
        headings: the headings above the passage, outermost first.
        cosine: of query and passage, from -1 to 1; None where it was not computed.
        bm25: how well the words fit, from 0 (no word in common) up; None where it was not
            computed.
        relevance: how likely the passage answers the query, from 0 to 1.
        others: more places of the same passage.
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
    others: tuple[Place, ...] = ()
    state: State = "current"
    id: str | None = None
    metadata: Mapping[str, object] | None = None


def search(
    store: Store,
    query: Floats,
    n: int,
    path: PathFilter | None = None,
    min_score: float | None = None,
    *,
    exact: bool | None = None,
) -> list[Hit]:
    """Find the documents nearest to a query, best first.

    Args:
        store: an open collection.
        query: (d,) float32 of unit length.
        n: the most hits.
        path: the documents that are meant, see `path_filter`.
        min_score: the least score.
        exact: whether all vectors are compared, or only those whose signs agree best with the
            query; None decides by their number.

    Raises:
        CollectionError: the file cannot be read.

    """
    store.use_path_filter(path_filter(path))
    with plain_errors(store.path), store.snapshot():
        return _search(store, query, n, path is not None, min_score, exact)


def _search(
    store: Store, query: Floats, n: int, filtered: bool, min_score: float | None, exact: bool | None
) -> list[Hit]:
    allowed = store.passages_under() if filtered else None
    count = store.count_passages() if allowed is None else len(allowed)
    if exact is None:
        exact = count <= _EXACT
    if exact:
        store.check_links()
    else:
        store.check_codes()
    look = _all if exact else _by_codes
    wanted = count if exact else max(_CANDIDATES, 20 * n) * max(1, _DIMENSIONS // len(query))
    while True:
        ids, scores = look(store, query, allowed, wanted)
        if min_score is not None:
            ids, scores = ids[scores >= min_score], scores[scores >= min_score]
        hits, n = _hits(store, ids, scores, n)
        # With many passages of the same documents there may be too few documents.
        if len(hits) >= n or len(ids) < min(wanted, count) or wanted >= count:
            return hits
        wanted *= 8


def _all(store: Store, query: Floats, allowed: Ids | None, _: int) -> tuple[Ids, Floats]:
    """Compare with all vectors, or with those allowed, in blocks."""
    ids, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for block, vectors in store.vectors(allowed):
        ids.append(block)
        scores.append(vectors @ query)
    return _sorted(np.concatenate(ids), np.concatenate(scores))


def _by_codes(store: Store, query: Floats, allowed: Ids | None, wanted: int) -> tuple[Ids, Floats]:
    """Compare with the vectors whose signs agree best with the query."""
    blocks, agreements = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for block, codes in store.codes():
        near = slice(None) if allowed is None else np.isin(block, allowed)
        blocks.append(block[near])
        agreements.append(agreement(codes[near], query))
    ids, first_look = np.concatenate(blocks), np.concatenate(agreements)
    chosen = np.ones(len(ids), np.bool_)
    if wanted < len(ids):
        chosen[np.argpartition(-first_look, wanted)[wanted:]] = False
        # Of codes that are wrong none may be chosen, so one of each block is looked at as well.
        sizes = [len(block) for block in blocks if len(block)]
        chosen[np.cumsum([0, *sizes[:-1]])] = True
    order = np.argsort(ids[chosen])
    ids, first_look = ids[chosen][order], first_look[chosen][order]
    scores = [np.empty(0, np.float32)]
    for block, vectors in store.vectors(ids):
        expected, first_look = first_look[: len(block)], first_look[len(block) :]
        if not np.allclose(agreement(pack(vectors), query), expected, atol=_ROUNDING):
            raise DamagedError("a code is not that of its vector")
        scores.append(vectors @ query)
    return _sorted(ids, np.concatenate(scores))


def agreement(codes: Bits, query: Floats) -> Floats:
    """Add up a query's components (d,) where codes (n, w) have a bit, as (n,).

    They rank as the cosines of the query and the signs do. The query's own signs would not be
    enough: where vectors can be cut, a few components hold most of them.
    """
    bits = np.unpackbits(codes.view(np.uint8), axis=1, count=len(query))
    return bits.astype(np.float32) @ query


def _sorted(ids: Ids, scores: Floats) -> tuple[Ids, Floats]:
    order = np.lexsort((ids, -scores))
    return ids[order], scores[order]


def _hits(store: Store, ids: Ids, scores: Floats, n: int) -> tuple[list[Hit], int]:
    """Find the documents of passages, best first; of each, or of its records, the best passage.

    Returns the hits, and how many there can be at most: n, or fewer where there are fewer.
    """
    hits: dict[tuple[str, int], Hit] = {}
    for number, (id, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True)):
        if number == _CANDIDATES:
            # A few long documents: not to go through all of their passages for one more.
            n = min(n, store.count_records())
        if len(hits) >= n:
            break
        passage = None
        # Some of these places may be of documents that are found already.
        for place in store.places(id, n + len(hits)):
            key = (place.path, place.record)
            if len(hits) < n and key not in hits:
                passage = passage or store.text(id)
                heading, text = passage
                first, last = place.lines
                hits[key] = Hit(
                    *(place.path, first, last, score, text, place.page),
                    headings=tuple(heading.splitlines()),
                    cosine=score,
                    relevance=max(0.0, score),
                    id=place.path if place.is_added else None,
                    metadata=store.metadata(place.path) if place.is_added else None,
                )
    return list(hits.values()), n
