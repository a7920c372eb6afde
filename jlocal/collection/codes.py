"""Codes: the signs of the vectors that a search may find, for a first look at many of them.

The passages that have a code are those of documents; what is only kept has none.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from jlocal.vectors import Floats

Ids = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

# Codes of this many neighbouring passages are one row: few rows to read, little to write again.
_BLOCK = 1024


def pack(vectors: Floats) -> Bits:
    """Signs of vectors (n, d) as (n, d / 64) uint64, zero bits where d is no multiple of 64."""
    bits = np.packbits(vectors > 0, axis=1)
    padding = -bits.shape[1] % 8
    return np.ascontiguousarray(np.pad(bits, ((0, 0), (0, padding)))).view("<u8")


def read(connection: sqlite3.Connection) -> Iterator[tuple[Ids, Bits]]:
    """Blocks of passage ids (n,) and codes (n, w) as `pack` gives them."""
    for passage_ids, bits in connection.execute("SELECT passage_ids, bits FROM code"):
        ids = np.frombuffer(passage_ids, "<i8")
        yield ids, np.frombuffer(bits, "<u8").reshape(len(ids), -1)


def ids(connection: sqlite3.Connection) -> Ids:
    """Ids (n,) of all passages that have a code."""
    rows = connection.execute("SELECT passage_ids FROM code").fetchall()
    return np.frombuffer(b"".join([block for (block,) in rows]), "<i8")


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
            data = b"".join([vector for (vector,) in rows])
            new = pack(np.frombuffer(data, "<f4").reshape(len(missing), -1))
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
    old = np.frombuffer(row[0], "<i8")
    return old, np.frombuffer(row[1], "<u8").reshape(len(old), -1)


def _write_block(connection: sqlite3.Connection, block: int, passages: Ids, codes: Bits) -> None:
    if len(passages):
        connection.execute(
            "INSERT OR REPLACE INTO code VALUES (?, ?, ?)",
            (block, passages.tobytes(), codes.tobytes()),
        )
    else:
        connection.execute("DELETE FROM code WHERE block = ?", (block,))


def _by_block(passages: Ids) -> Iterator[tuple[int, Ids]]:
    blocks = passages // _BLOCK
    for block in np.unique(blocks):
        yield int(block), passages[blocks == block]
