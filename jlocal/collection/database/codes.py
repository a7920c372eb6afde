"""Codes: the signs of the searchable vectors, which select the candidates of a search.

The passages of documents have a code; kept passages have none.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from jlocal.collection.database.values import DamagedError, Ids, ascending, floats_of, ids_of
from jlocal.vectors import Floats

Bits = npt.NDArray[np.uint64]

# A row holds the codes of this many neighbouring passages: few rows to read, little to rewrite.
_BLOCK = 1024
# Rows to read at a time: few enough to stay in the processor's cache.
_READ_BLOCKS = 8


def pack(vectors: Floats) -> Bits:
    """Pack the signs of vectors (n, d) as (n, d / 64) uint64, zero bits to a multiple of 64."""
    bits = np.packbits(vectors > 0, axis=1)
    padding = -bits.shape[1] % 8
    return np.ascontiguousarray(np.pad(bits, ((0, 0), (0, padding)))).view("<u8")


def read(connection: sqlite3.Connection, dimensions: int) -> Iterator[tuple[Ids, Bits]]:
    """Yield passage ids (n,) and codes (n, w) as `pack` returns them, a few blocks at a time.

    Raises:
        DamagedError: codes are not as `pack` returns them, or a passage has two.

    """
    words, last = -(-dimensions // 64), -1
    # Values that are too long are not even read.
    cursor = connection.execute(
        "SELECT block, CASE WHEN length(passage_ids) <= ? THEN passage_ids END, "
        "CASE WHEN length(bits) <= ? THEN bits END FROM code ORDER BY block",
        (8 * _BLOCK, 8 * _BLOCK * words),
    )
    while rows := cursor.fetchmany(_READ_BLOCKS):
        numbers, passage_ids, bits = zip(*rows, strict=True)
        blocks = ids_of(numbers)
        last = ascending(blocks, last)
        for some_ids, some_bits in zip(passage_ids, bits, strict=True):
            _check_lengths(some_ids, some_bits, words)
        passages = _checked(blocks, passage_ids)
        yield passages, np.frombuffer(b"".join(bits), "<u8").reshape(len(passages), words)


def blocks_of(passages: Ids) -> Ids:
    """Return the numbers (n,) of the blocks that hold the codes of passages."""
    return passages // _BLOCK


def ids(connection: sqlite3.Connection) -> Ids:
    """Return the ids (n,) of all passages that have a code."""
    found, last = [np.empty(0, np.int64)], -1
    for block, passage_ids in connection.execute(
        "SELECT block, CASE WHEN length(passage_ids) <= ? THEN passage_ids END FROM code "
        "ORDER BY block",
        (8 * _BLOCK,),
    ):
        last = ascending(ids_of([block]), last)
        found.append(_ids_of(block, passage_ids))
    return np.concatenate(found)


def add(connection: sqlite3.Connection, passages: Ids) -> None:
    """Add the codes of these passages (n,) where they are missing."""
    for block, mine in _by_block(passages):
        old, codes = _read_block(connection, block)
        missing = np.setdiff1d(mine, old)
        if len(missing):
            rows = connection.execute(
                "SELECT vector FROM passage WHERE id IN (SELECT value FROM json_each(?)) "
                "ORDER BY id",
                (json.dumps(missing.tolist()),),
            ).fetchall()
            if len(rows) != len(missing):
                raise DamagedError("a passage is missing")
            new = pack(floats_of([vector for (vector,) in rows]))
            if len(old) and codes.shape[1] != new.shape[1]:
                raise DamagedError("a block of codes has a wrong length")
            codes = codes.reshape(len(old), new.shape[1])
            _write_block(
                connection, block, np.concatenate([old, missing]), np.concatenate([codes, new])
            )


def drop(connection: sqlite3.Connection, passages: Ids) -> None:
    """Remove the codes of these passages (n,) where they have one."""
    for block, mine in _by_block(passages):
        old, codes = _read_block(connection, block)
        left = ~np.isin(old, mine)
        if not left.all():
            _write_block(connection, block, old[left], codes[left])


def _read_block(connection: sqlite3.Connection, block: int) -> tuple[Ids, Bits]:
    row = connection.execute(
        "SELECT passage_ids, bits FROM code WHERE block = ?", (block,)
    ).fetchone()
    if row is None:
        return np.empty(0, "<i8"), np.empty((0, 0), "<u8")
    passage_ids, bits = row
    return _codes_of(block, passage_ids, bits)


def _codes_of(block: int, passage_ids: object, bits: object) -> tuple[Ids, Bits]:
    passages = _ids_of(block, passage_ids)
    words = len(bits) // 8 // max(1, len(passages)) if isinstance(bits, bytes) else 0
    _check_lengths(passage_ids, bits, words)
    return passages, np.frombuffer(cast(bytes, bits), "<u8").reshape(len(passages), words)


def _check_lengths(passage_ids: object, bits: object, words: int) -> None:
    if not isinstance(passage_ids, bytes) or len(passage_ids) % 8:
        raise DamagedError("a block of codes has no ids")
    if not isinstance(bits, bytes) or len(bits) != words * len(passage_ids):
        raise DamagedError("a block of codes has a wrong length")


def _ids_of(block: int, passage_ids: object) -> Ids:
    if not isinstance(passage_ids, bytes) or len(passage_ids) % 8:
        raise DamagedError("a block of codes has no ids")
    return _checked(np.array([block], np.int64), [passage_ids])


def _checked(blocks: Ids, passage_ids: Sequence[bytes]) -> Ids:
    """Read the ids (n,) of the passages in some blocks."""
    passages = np.frombuffer(b"".join(passage_ids), "<i8")
    expected = np.repeat(blocks, [len(packed) // 8 for packed in passage_ids])
    # They are mostly in order.
    repeats = (np.diff(passages) <= 0).any() and len(np.unique(passages)) != len(passages)
    if repeats or (blocks_of(passages) != expected).any():
        raise DamagedError("a block of codes has passages that are not its own")
    return passages


def _write_block(connection: sqlite3.Connection, block: int, passages: Ids, codes: Bits) -> None:
    if len(passages):
        connection.execute(
            "INSERT OR REPLACE INTO code VALUES (?, ?, ?)",
            (block, passages.tobytes(), codes.tobytes()),
        )
    else:
        connection.execute("DELETE FROM code WHERE block = ?", (block,))


def _by_block(passages: Ids) -> Iterator[tuple[int, Ids]]:
    blocks = blocks_of(passages)
    for block in np.unique(blocks):
        yield int(block), passages[blocks == block]
