"""Export a collection to an embeddings database of the command line tool `llm`."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

from jlocal.collection.export import OnFailure, Row, check_some, open_rows, storable
from jlocal.errors import ArgumentError, OutputError
from jlocal.outputs.atomic import atomic_write
from jlocal.outputs.sqlite import FileKind, limit_work, open_file
from jlocal.printable import printable
from jlocal.terms import Argument

# The tables as llm's own migrations create them. llm skips listed migrations; without the list it
# would create the tables again and fail.
_TABLES = """
CREATE TABLE _sqlite_migrations (
    id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT
);
CREATE UNIQUE INDEX idx__sqlite_migrations_migration_set_name
    ON _sqlite_migrations (migration_set, name);
CREATE TABLE collections (id INTEGER PRIMARY KEY, name TEXT, model TEXT);
CREATE UNIQUE INDEX idx_collections_name ON collections (name);
CREATE TABLE embeddings (
    collection_id INTEGER REFERENCES collections (id),
    id TEXT,
    embedding BLOB,
    content TEXT,
    content_blob BLOB,
    content_hash BLOB,
    metadata TEXT,
    updated INTEGER,
    PRIMARY KEY (collection_id, id)
);
CREATE INDEX idx_embeddings_content_hash ON embeddings (content_hash);
"""
_DATABASE = FileKind(
    error=OutputError,
    name="an embeddings database of llm",
    use="write",
    outcome="nothing in it was changed",
    if_damaged="name another file",
    if_unusable="name another file",
)
_NAME = Argument("name")
_STEPS = (
    "m001_create_tables",
    "m002_foreign_key",
    "m003_add_updated",
    "m004_store_content_hash",
    "m005_add_content_blob",
)
# SQL keywords of tables and indices that do more than hold values.
_RUNS = frozenset({"virtual", "generated", "as", "check", "default", "where"})
_NEEDED = {
    "collections": {"id", "name", "model"},
    "embeddings": {
        *("collection_id", "id", "embedding", "content", "content_hash", "metadata", "updated"),
    },
}


def export_to_llm(
    database: Path,
    target: Path,
    name: str,
    on_failure: OnFailure | None = None,
    *,
    wait: float = 10,
) -> int:
    """Write a collection to an embeddings database of llm in one transaction.

    A row is a passage: `id` as in `export.Row`, `embedding` little-endian float32, `content` the
    text, `content_hash` its MD5, and `metadata` with `path`, `page`, `first_line` and `last_line`.
    The model is called `jlocal/NAME`; llm asks for a model of that name only when it is given a
    text to compare with.

    Args:
        database: the collection.
        target: a new file, or a database of llm to add a collection to; its content is never
            changed.
        name: of the new collection.
        on_failure: as in `export.export`, for each path that is not UTF-8.
        wait: how many seconds to wait for another program that writes to the database.

    Returns:
        How many vectors there are.

    Raises:
        ArgumentError: the name is empty.
        CollectionError: there is no such collection, nothing in it, or it cannot be read.
        OutputError: the database cannot be written, is not one of llm's, or has a collection of
            this name; or a path is not UTF-8, which it cannot hold.

    """
    if not name.strip():
        raise ArgumentError("the name of the collection is empty", argument="name")
    with open_rows(database) as (config, rows):
        model = f"jlocal/{config.model}"
        if target.is_file() and target.stat().st_size:
            _DATABASE.check_files(target)
            with _transaction(target, target, wait) as connection:
                _check(connection, target, name)
                # The tables are sound; there may be any number of rows.
                connection.set_progress_handler(None, 0)
                return _fill(connection, name, model, rows, on_failure)
        with (
            atomic_write(target) as file,
            _transaction(target, Path(file.name), wait, journal="OFF") as connection,
        ):
            _make(connection)
            return _fill(connection, name, model, rows, on_failure)


@contextmanager
def _transaction(
    target: Path, path: Path, wait: float, journal: str | None = None
) -> Iterator[sqlite3.Connection]:
    with (
        _DATABASE.translated_errors(target),
        closing(open_file(path, timeout=wait)) as connection,
    ):
        if journal is None:
            limit_work(connection, target)
        else:
            connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _make(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    now = str(datetime.now(timezone.utc))
    connection.executemany(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)",
        [("llm.embeddings", step, now) for step in _STEPS],
    )


def _check(connection: sqlite3.Connection, target: Path, name: str) -> None:
    for table, needed in _NEEDED.items():
        _check_passive(connection, target, table)
        rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
        columns = {column for (column,) in rows}
        if not columns:
            raise OutputError(
                f"{target} is not an embeddings database of llm; name another file", path=target
            )
        if not needed <= columns:
            raise OutputError(
                f"{target} is of another version of llm: its table {table} lacks "
                f"{', '.join(sorted(needed - columns))}; name another file, or bring it up to date "
                f"with: llm collections list -d {target}",
                path=target,
            )
    if connection.execute("SELECT 1 FROM collections WHERE name = ?", (name,)).fetchone():
        raise OutputError(
            f"{target} has a collection {name!r} already; choose another with {_NAME}, or "
            f"remove that one with: llm collections delete {name} -d {target}",
            _NAME,
            path=target,
        )


def _check_passive(connection: sqlite3.Connection, target: Path, table: str) -> None:
    """Refuse triggers and views, which would run when a row is written and are not llm's."""
    objects = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = ? LIMIT 100", (table,)
    ).fetchall()
    for type, name, sql in objects:
        words = set(re.findall(r"\w+", sql.lower())) if isinstance(sql, str) else set()
        if type not in ("table", "index") or words & _RUNS:
            description = printable(f"{type} {name}")[:100]
            raise OutputError(
                f"{target} is not an embeddings database of llm: its {description} may run when "
                "something is written; name another file",
                path=target,
            )
    indices = connection.execute(
        "SELECT cid FROM pragma_index_list(?) AS list, pragma_index_xinfo(list.name)", (table,)
    )
    # The columns of an index over an expression have no number.
    if any(column < -1 for (column,) in indices):
        raise OutputError(
            f"{target} is not an embeddings database of llm: an index of its table {table} "
            "computes something; name another file",
            path=target,
        )


def _fill(
    connection: sqlite3.Connection,
    name: str,
    model: str,
    rows: Iterator[Row],
    on_failure: OnFailure | None,
) -> int:
    collection = connection.execute(
        "INSERT INTO collections (name, model) VALUES (?, ?)", (name, model)
    ).lastrowid
    now = int(time.time())
    count = 0
    for row in storable(rows, "a database of llm", on_failure):
        connection.execute(
            "INSERT INTO embeddings (collection_id, id, embedding, content, content_hash, "
            "metadata, updated) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                collection,
                row.id,
                row.vector.astype("<f4").tobytes(),
                row.text,
                hashlib.md5(row.text.encode(), usedforsecurity=False).digest(),
                json.dumps(dict(row.columns), ensure_ascii=False),
                now,
            ),
        )
        count += 1
    check_some(count)
    return count
