"""What must hold for the file of a collection, and what it says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from jlocal.collection.search import hamming
from jlocal.collection.store import Store, pack


def check(path: Path) -> None:
    """Whatever happened, the file is whole, and its codes are those of its vectors."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    store = Store(path)
    codes = {id: code for ids, bits in store.codes() for id, code in zip(ids, bits, strict=True)}
    vectors = {id: v for ids, rows in store.vectors() for id, v in zip(ids, rows, strict=True)}
    store.close()
    assert sorted(codes) == sorted(vectors)
    for id, vector in vectors.items():
        assert not hamming(pack(vector[None]), codes[id])[0]


def rows(path: Path) -> list[tuple]:
    """All that a collection says, without the ids that depend on the order of writing."""
    connection = sqlite3.connect(path)
    found = connection.execute(
        'SELECT path, content.sha256, record, start, "end", first_line, last_line, passage.sha256, '
        "vector, text FROM document JOIN content ON content.id = content_id "
        "LEFT JOIN chunk USING (content_id) LEFT JOIN passage ON passage.id = passage_id "
        "ORDER BY path, record, start"
    ).fetchall()
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        for table in ("document", "content", "chunk", "passage", "setting")
    ]
    connection.close()
    return found + counts
