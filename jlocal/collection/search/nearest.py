"""Nearest passages of a query: exact for few vectors, preselected by codes for many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from jlocal.collection.database.codes import Bits, blocks_of, pack
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import DamagedError, Ids
from jlocal.vectors import Floats

if TYPE_CHECKING:
    from concurrent.futures import Future

# Evenly sampled vectors that estimate the distribution of a query's cosines.
_BACKGROUND = 200
# With this many codes at a time, the lookups stay in the processor's cache.
_ROWS = 256
# NumPy computes outside Python's lock, so threads share the work; and few blocks of codes wait.
_THREADS, _MOST_WAITING = 2, 16
# The largest rounding difference of two sums of the same components.
_ROUNDING = 1e-4


def all_cosines(store: Store, query: Floats, ids: Ids | None) -> tuple[Ids, Floats]:
    """Compare a query (d,) with all passages or these; return sorted ids (n,) and cosines (n,)."""
    blocks, cosines = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for block, vectors in store.vectors(ids):
        blocks.append(block)
        cosines.append(vectors @ query)
    return np.concatenate(blocks), np.concatenate(cosines)


def nearest_by_codes(
    store: Store, query: Floats, allowed: Ids | None, wanted: int
) -> tuple[Ids, Floats, Floats]:
    """Compare a query (d,) with the vectors whose signs agree best with it.

    Returns:
        Ids (n,), ascending, and cosines (n,), of `wanted` passages; and cosines (m,) of passages
        taken evenly.

    """
    ids, first_look = _first_look(store, query, allowed)
    if not len(ids):
        return ids, first_look, first_look
    chosen = np.argpartition(-first_look, min(wanted, len(ids) - 1))[:wanted]
    vectors = _vectors(store, query, ids[chosen], first_look[chosen])
    cosines = np.concatenate([block @ query for block in vectors])

    def background() -> Floats:
        return _background(store, query, ids, first_look)

    # Without a filter it is the same for all queries.
    others = store.once("background", background) if allowed is None else background()
    return np.sort(ids[chosen]), cosines, others @ query


def _first_look(store: Store, query: Floats, allowed: Ids | None) -> tuple[Ids, Floats]:
    """Ids (n,) of passages, and how well the signs of their vectors agree with a query (n,)."""
    # Only a search in many passages needs it.
    from concurrent.futures import ThreadPoolExecutor

    blocks, looks = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Future[Floats]] = deque()
        for block, codes in store.codes():
            near = slice(None) if allowed is None else np.isin(block, allowed)
            blocks.append(block[near])
            waiting.append(pool.submit(agreement, codes[near], query))
            if len(waiting) > _MOST_WAITING:
                looks.append(waiting.popleft().result())
        looks += [future.result() for future in waiting]
    return np.concatenate(blocks), np.concatenate(looks)


def _vectors(store: Store, query: Floats, ids: Ids, first_look: Floats) -> Iterator[Floats]:
    """Blocks of vectors (n, d) in the order of their ids, compared with the first look at them."""
    expected = first_look[np.argsort(ids)]
    for block, vectors in store.vectors(np.sort(ids)):
        if not np.allclose(agreement(pack(vectors), query), expected[: len(block)], atol=_ROUNDING):
            raise DamagedError("a code is not that of its vector")
        expected = expected[len(block) :]
        yield vectors


def _background(store: Store, query: Floats, ids: Ids, first_look: Floats) -> Floats:
    """Vectors (m, d) of passages taken evenly, and one of each block.

    Of codes that are wrong none may be chosen as near, so one of each block is looked at as well.
    """
    even = np.linspace(0, len(ids) - 1, min(len(ids), _BACKGROUND)).astype(np.int64)
    firsts = np.flatnonzero(np.diff(blocks_of(ids), prepend=-1))
    sample = np.union1d(even, firsts)
    vectors = np.concatenate(list(_vectors(store, query, ids[sample], first_look[sample])))
    # The vectors come in the order of their ids, in which not all codes stand.
    return vectors[np.isin(np.sort(ids[sample]), ids[even])]


def agreement(codes: Bits, query: Floats) -> Floats:
    """Add up a query's components (d,) where codes (n, w) have a bit, as (n,).

    The sums rank codes as the cosines of the query with the signs do. The query's signs alone would
    not be enough: in Matryoshka vectors, a few components hold most of the length.
    """
    packed = codes.view(np.uint8)
    width = packed.shape[1]
    components = np.zeros(8 * width, np.float32)
    components[: len(query)] = query
    # The sum of each byte's components is looked up by the byte's position and value.
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    table = (components.reshape(width, 8) @ bits.astype(np.float32).T).ravel()
    locations, ones = 256 * np.arange(width), np.ones(width, np.float32)
    sums = np.empty(len(codes), np.float32)
    for start in range(0, len(codes), _ROWS):
        rows = packed[start : start + _ROWS] + locations
        # All indices are valid; "clip" is the fastest mode.
        sums[start : start + _ROWS] = table.take(rows, mode="clip") @ ones
    return sums
