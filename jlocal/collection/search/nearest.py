"""The passages nearest to a query: exact over few vectors, a first look at codes over many."""

from __future__ import annotations

import numpy as np

from jlocal.collection.database.codes import Bits, blocks_of, pack
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import DamagedError, Ids
from jlocal.vectors import Floats

# So many vectors taken evenly tell how cosines of a query are distributed.
_BACKGROUND = 200
# What is looked up for so many codes at a time stays in the processor's cache.
_ROWS = 256
# By how much two sums of the same components may differ.
_ROUNDING = 1e-4


def all_cosines(store: Store, query: Floats, ids: Ids | None) -> tuple[Ids, Floats]:
    """Compare a query (d,) with all passages, or with these (n,): ids, ascending, and cosines."""
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
        Ids (n,), ascending, and cosines (n,), of `wanted` passages and a few more; and cosines (m,)
        of passages taken evenly.

    """
    blocks, agreements = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for block, codes in store.codes():
        near = slice(None) if allowed is None else np.isin(block, allowed)
        blocks.append(block[near])
        agreements.append(agreement(codes[near], query))
    ids, first_look = np.concatenate(blocks), np.concatenate(agreements)
    if not len(ids):
        return ids, first_look, first_look
    even = np.zeros(len(ids), np.bool_)
    even[np.linspace(0, len(ids) - 1, min(len(ids), _BACKGROUND)).astype(np.int64)] = True
    chosen = even.copy()
    chosen[np.argpartition(-first_look, min(wanted, len(ids) - 1))[:wanted]] = True
    # Of codes that are wrong none may be chosen, so one of each block is looked at as well.
    chosen[np.flatnonzero(np.diff(blocks_of(ids), prepend=-1))] = True
    order = np.argsort(ids[chosen])
    ids, first_look, even = ids[chosen][order], first_look[chosen][order], even[chosen][order]
    cosines = [np.empty(0, np.float32)]
    for block, vectors in store.vectors(ids):
        expected, first_look = first_look[: len(block)], first_look[len(block) :]
        if not np.allclose(agreement(pack(vectors), query), expected, atol=_ROUNDING):
            raise DamagedError("a code is not that of its vector")
        cosines.append(vectors @ query)
    all_of_them = np.concatenate(cosines)
    return ids, all_of_them, all_of_them[even]


def agreement(codes: Bits, query: Floats) -> Floats:
    """Add up a query's components (d,) where codes (n, w) have a bit, as (n,).

    They rank as the cosines of the query and the signs do. The query's own signs would not be
    enough: where vectors can be cut, a few components hold most of them.
    """
    packed = codes.view(np.uint8)
    width = packed.shape[1]
    components = np.zeros(8 * width, np.float32)
    components[: len(query)] = query
    # The sum of each byte's components is looked up, by its place and its value.
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    table = (components.reshape(width, 8) @ bits.astype(np.float32).T).ravel()
    locations, ones = 256 * np.arange(width), np.ones(width, np.float32)
    sums = np.empty(len(codes), np.float32)
    for start in range(0, len(codes), _ROWS):
        rows = packed[start : start + _ROWS] + locations
        # All are in the table; "clip" is the mode that is fast.
        sums[start : start + _ROWS] = table.take(rows, mode="clip") @ ones
    return sums
