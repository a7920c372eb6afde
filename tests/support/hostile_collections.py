"""Hostile collections, changed as jlocal never changes them, and all functions that read them."""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder
from jlocal.collection.database.store import Store
from jlocal.collection.export import open_rows
from jlocal.collection.index.report import Report
from jlocal.collection.llm import export_to_llm
from jlocal.collection.search.ranking import search
from jlocal.errors import CollectionError, JlocalError, OutputError
from jlocal.map.page import render
from jlocal.map.picture import draw

Reader = Callable[[Path], object]

# Of words, the tables that FTS5 keeps them in.
WORDS = tuple(
    f"{index}_{end}"
    for index in ("words", "path_words")
    for end in ("data", "idx", "docsize", "config")
)
TABLES = (
    *("setting", "model_file", "folder", "content", "document", "passage", "chunk", "code"),
    *WORDS,
)

_ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
# Objects in place of jlocal's tables, or beside them.
SCHEMAS = {
    "an endless view": f"ALTER TABLE document RENAME TO d; CREATE VIEW document AS {_ENDLESS} "
    "i AS id, i AS path, i AS stamp, 1 AS content_id FROM n;",
    "an endless view of settings": f"DROP TABLE setting; CREATE VIEW setting AS {_ENDLESS} "
    "i AS key, i AS value FROM n;",
    "an endless view of passages": f"DROP TABLE passage; CREATE VIEW passage AS {_ENDLESS} "
    "i AS id, zeroblob(1000000000) AS vector, 'x' AS sha256, 'x' AS text FROM n;",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON model_file BEGIN DELETE FROM document; END;",
    "a trigger in place of writing": "CREATE TRIGGER \"\u202e\n\x1b[31m\" BEFORE DELETE ON "
    "document BEGIN SELECT RAISE (IGNORE); END;",
    "a view more": f"CREATE VIEW v AS {_ENDLESS} i FROM n;",
    "a table more": "CREATE TABLE more (x);",
    "a table less": "DROP TABLE code;",
    "an index less": "DROP INDEX chunk_passage;",
    "an index more": "CREATE INDEX i ON passage (text);",
    "an index that computes": "CREATE INDEX i ON passage (length(zeroblob(1000000000)));",
    "a virtual table": "DROP TABLE code; CREATE VIRTUAL TABLE code USING fts5 (block, passage_ids, "
    "bits);",
    "a column that computes": "ALTER TABLE passage ADD COLUMN x AS (zeroblob(1000000000));",
    "a column more": "ALTER TABLE document ADD COLUMN x;",
    "a check": "DROP TABLE code; CREATE TABLE code (block INTEGER PRIMARY KEY, passage_ids BLOB "
    "NOT NULL, bits BLOB NOT NULL CHECK (length(zeroblob(1000000000)) = 1));",
    "another collation": "DROP TABLE setting; CREATE TABLE setting (key TEXT PRIMARY KEY COLLATE "
    "NOCASE, value TEXT NOT NULL) WITHOUT ROWID;",
    "no rows by number": "DROP TABLE code; CREATE TABLE code (block INTEGER PRIMARY KEY, "
    "passage_ids BLOB NOT NULL, bits BLOB NOT NULL) WITHOUT ROWID;",
    "statistics": "ANALYZE;",
    "words that are none": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'x' WHERE "
    "name = 'code';",
    "no statement": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = NULL WHERE name = "
    "'code';",
    "bytes that are no text": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = "
    "CAST(x'ff' AS TEXT) WHERE name = 'code';",
    "two tables of the same pages": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET "
    "rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'content') "
    "WHERE name = 'document';",
    "a table on no page": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 99999 "
    "WHERE name = 'code';",
    "very many tables": "".join(f"CREATE TABLE t{number} (x);" for number in range(500)),
    "words in another table": "DROP TABLE words; CREATE VIRTUAL TABLE words USING fts5 (heading, "
    "text, content='passage', content_rowid='id');",
    "words with another tokenizer": "DROP TABLE path_words; CREATE VIRTUAL TABLE path_words USING "
    "fts5 (path, content='', tokenize='trigram');",
    "words without rows": "DROP TABLE words; CREATE TABLE words (heading, text);",
    "a table of words less": "DROP TABLE words;",
    "words that compute": "DROP TABLE path_words; CREATE VIEW path_words AS SELECT "
    "zeroblob(1000000000) AS path;",
    "another program": "PRAGMA application_id = 1;",
    "another version": "PRAGMA user_version = 99;",
}  # fmt: skip


@contextmanager
def changed(sound: Path, path: Path) -> Iterator[sqlite3.Connection]:
    """Copy a collection and open the copy, in which any column takes NULL meanwhile."""
    for end in ("", "-wal", "-shm", "-journal", "-lock"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
    shutil.copyfile(sound, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA synchronous = OFF")
        schema = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        rewrite(connection, [(name, sql and sql.replace(" NOT NULL", "")) for name, sql in schema])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        yield connection
        rewrite(connection, schema)


def rewrite(connection: sqlite3.Connection, schema: list[tuple[str, str | None]]) -> None:
    """Replace a statement of the schema, without changing the tables."""
    connection.execute("PRAGMA writable_schema = ON")
    connection.executemany(
        "UPDATE sqlite_master SET sql = ? WHERE name = ?", [(sql, name) for name, sql in schema]
    )
    connection.execute("PRAGMA writable_schema = RESET")


def set_first(connection: sqlite3.Connection, table: str, column: str, value: object) -> None:
    """Set a value in the first row of a table, without checking references."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
    first = connection.execute(f"SELECT * FROM {table} ORDER BY {', '.join(keys)}").fetchone()
    row = dict(zip(names, first, strict=True))
    where = " AND ".join(f'"{key}" = ?' for key in keys)
    connection.execute(
        f'UPDATE {table} SET "{column}" = ? WHERE {where}', (value, *(row[key] for key in keys))
    )


def floats(*values: float, count: int) -> bytes:
    """Return a vector of a length, zero after the given components."""
    return struct.pack(f"<{count}f", *values, *([0] * (count - len(values))))


def readers(query: np.ndarray, scratch: Path) -> Mapping[str, Reader]:
    """Return all functions that read a collection without a model."""

    def found(path: Path, glob: str | None, exact: bool) -> object:
        with closing(Store(path)) as store:
            return [astuple(hit) for hit in search(store, query, 5, glob, exact=exact)]

    def fused(path: Path, exact: bool | None) -> object:
        vector = None if exact is None else query
        with closing(Store(path)) as store:
            hits = search(store, vector, 5, text="note text number md", exact=exact)
            return [astuple(hit) for hit in hits]

    def words(path: Path) -> object:
        with closing(Store(path)) as store:
            found = [
                store.words(asked).best(1000) for asked in ("note text number", "a", "黒", "x y z")
            ]
            ids = np.unique(np.concatenate(found)).tolist()
            assert all(isinstance(store.text(id)[1], str) for id in ids)
            return ids, [
                store.path_words(asked).best(1000).tolist() for asked in ("md", "n", "b pdf")
            ]

    def drawn(path: Path, **options: object) -> object:
        picture = draw(path, **options)
        assert np.isfinite(picture.points).all()
        return render(picture, "Map")

    def rows(path: Path) -> object:
        with open_rows(path) as (config, found):
            return config, [(row.id, row.columns, row.text, row.vector.tolist()) for row in found]

    def to_llm(path: Path) -> object:
        target = scratch / "llm.db"
        target.unlink(missing_ok=True)
        return export_to_llm(path, target, "name")

    return {
        "made_with": lambda path: _with(path, Collection.made_with),
        "search": lambda path: found(path, None, True),
        "search by codes": lambda path: found(path, None, False),
        "search by words": lambda path: fused(path, None),
        "search by both": lambda path: fused(path, True),
        "search by both and codes": lambda path: fused(path, False),
        "search below a path": lambda path: found(path, "*.md", True),
        "search by codes below a path": lambda path: found(path, "*.md", False),
        "words": words,
        "map": lambda path: drawn(path, clusters=2),
        "rows": rows,
        "llm": to_llm,
    }


def readers_with_model(model: Embedder, notes: Path) -> Mapping[str, Reader]:
    """Return the functions that need a model; `index` comes last, because it writes."""

    def found(path: Path) -> object:
        with Collection(path, model) as collection:
            return [astuple(hit) for hit in collection.search("What is this?")]

    def found_by_words(path: Path) -> object:
        with Collection(path) as collection:
            return [astuple(hit) for hit in collection.search("note text number", mode="words")]

    def indexed(path: Path) -> object:
        with Collection(path, model) as collection:
            report = collection.index(notes, wait=0)
            assert not report.failures
            again = collection.index(notes, wait=0)
            hits = collection.search("What is this?")
        files = len(list(notes.iterdir()))
        # A chunk that leads elsewhere leaves a passage that is in no document.
        assert again == Report(files=files, unchanged=files, kept=again.kept)
        return [astuple(hit) for hit in hits]

    return {
        "Collection.search": found,
        "Collection.search by words": found_by_words,
        "index": indexed,
    }


def _with(path: Path, method: Callable[[Collection], object]) -> object:
    with Collection(path) as collection:
        return method(collection)


def outcome(reader: Reader, path: Path) -> object:
    """Return a reader's result, or its error that names the file; other errors are failures."""
    try:
        return reader(path)
    except CollectionError as error:
        message = str(error)
        assert message.isprintable(), message
        assert len(message) < 600, message
        assert str(path) in message, message
        return error
    except OutputError as error:
        # A path that is no UTF-8 is none that llm takes, and it may be the only one.
        if not re.search("is not UTF-8|no row could be written", str(error)):
            raise
        return error
    except JlocalError as error:
        raise AssertionError(f"not an error of the collection: {error}") from error


@contextmanager
def little_work() -> Iterator[None]:
    """Let SQLite do a hundredth of the work that jlocal allows, for the tests to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jlocal.outputs.sqlite._UNIT", 100_000)
        yield
