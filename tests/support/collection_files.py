"""Invariants and content of a collection's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from jlocal import Collection, Embedder
from jlocal.collection.chunking.chunks import Chunk
from jlocal.collection.config import CollectionConfig
from jlocal.collection.database import codes
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.codes import pack
from jlocal.collection.database.fulltext import PASSAGES, PATHS
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import Ids, digest_of
from jlocal.vectors import Floats


class CountingStore(Store):
    """A store that counts the vectors of each read; None stands for all of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.counts: list[int | None] = []

    def vectors(self, ids: Ids | None = None) -> Iterator[tuple[Ids, Floats]]:
        self.counts.append(None if ids is None else len(ids))
        return super().vectors(ids)


def check(path: Path) -> None:
    """Check that the file is intact, and that its codes are those of its vectors."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    store = Store(path)
    bits = {id: code for ids, block in store.codes() for id, code in zip(ids, block, strict=True)}
    vectors = {id: v for ids, rows in store.vectors() for id, v in zip(ids, rows, strict=True)}
    store.close()
    assert sorted(bits) == sorted(vectors)
    for id, vector in vectors.items():
        np.testing.assert_array_equal(pack(vector[None])[0], bits[id])
    check_words(path)


def check_words(path: Path) -> None:
    """Check that the words are those of the passages with codes, as if they were just written."""
    with closing(sqlite3.connect(path)) as connection:
        documents = connection.execute("SELECT id FROM document").fetchall()
        for index, ids in (
            (PASSAGES, codes.ids(connection)),
            (PATHS, np.array(documents, np.int64).reshape(-1)),
        ):
            with closing(sqlite3.connect(":memory:")) as fresh:
                connection.backup(fresh)
                fresh.execute(f"INSERT INTO {index.table} ({index.table}) VALUES ('delete-all')")
                index.add(fresh, ids)
                assert _words(connection, index.table) == _words(fresh, index.table)


def _words(connection: sqlite3.Connection, table: str) -> list[list[tuple]]:
    """Return each word where it is, the lengths of rows, and their sums."""
    vocabulary = f"{table}_vocabulary"
    connection.execute(
        f"CREATE VIRTUAL TABLE temp.{vocabulary} USING fts5vocab(main, {table}, instance)"
    )
    return [
        connection.execute(statement).fetchall()
        for statement in (
            f"SELECT term, doc, col, offset FROM temp.{vocabulary} ORDER BY 1, 2, 3, 4",
            f"SELECT id, sz FROM {table}_docsize ORDER BY id",
            # Zero sums are written in more than one way.
            f"SELECT block FROM {table}_data "
            f"WHERE id = 1 AND EXISTS (SELECT 1 FROM {table}_docsize)",
        )
    ]


def rows(path: Path) -> list[tuple]:
    """The content of a collection, without the ids that depend on the order of writing."""
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


def config_for(dimensions: int) -> CollectionConfig:
    """Return a config with which vectors of this length could have been made."""
    return CollectionConfig(
        model="model",
        model_path="/model.gguf",
        model_sha256="0" * 64,
        pooling="last",
        prompt="",
        dimensions=dimensions,
        precision="float32",
        compute_type="stored",
        chunk=None,
        overlap=0,
        fields=(),
    )


def by_hand(path: Path, *documents: tuple[str, list[str]]) -> Path:
    """Make a collection of (path, texts) with random vectors (8,), a record for each text."""
    store = Store(path, create=True)
    store.set_config(config_for(8))
    rng = np.random.default_rng(0)
    for name, texts in documents:
        batch, chunks = Batch(), []
        for record, text in enumerate(texts):
            vector = rng.standard_normal(8).astype(np.float32)
            batch.passages[digest_of(text)] = ("", text, vector / np.linalg.norm(vector))
            lines = 1 + text.count("\n")
            chunks.append((record, Chunk(0, len(text), 1, lines, text), digest_of(text)))
        batch.entries.append(Entry(name, None, digest_of(ascii([name, *texts])), chunks))
        store.write(batch)
    store.close()
    return path


def notes_to_search(folder: Path, model: Embedder) -> Path:
    """Write a few notes below a folder, and index them into notes.db there."""
    (folder / "notes" / "sub").mkdir(parents=True)
    texts = {
        "notes/backup.md": "# Backups\n\nEvery night, kept for thirty days.\n",
        "notes/sub/budget.md": "# Budget\n\n" + "We spend less. " * 60,
        "notes/sub/火星.md": "火星被称为红色星球。" * 30,
        "notes/escape.txt": "red \x1b[31m text\x07",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Collection(folder / "notes.db", model) as collection:
        collection.index(folder / "notes", chunk=48)
    return folder
