"""How a file of an older format becomes one of the newest: named steps, in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from jlocal.caller import warn
from jlocal.collection.database import codes
from jlocal.collection.database.check import check_schema
from jlocal.collection.database.fulltext import PASSAGES, PATHS
from jlocal.collection.database.values import ids_of
from jlocal.errors import MigrationWarning

# So many passages take a few seconds.
_MANY = 10_000
# The tables of older formats, as they were made.
_FORMAT_1 = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE model_file (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE content (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE);
CREATE TABLE document (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    stamp TEXT,
    content_id INTEGER NOT NULL REFERENCES content (id)
);
CREATE INDEX document_content ON document (content_id);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    vector BLOB NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE chunk (
    content_id INTEGER NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    record INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL,
    passage_id INTEGER NOT NULL REFERENCES passage (id),
    PRIMARY KEY (content_id, record, start)
) WITHOUT ROWID;
CREATE INDEX chunk_passage ON chunk (passage_id);
CREATE TABLE code (block INTEGER PRIMARY KEY, passage_ids BLOB NOT NULL, bits BLOB NOT NULL);
"""
FORMATS: Mapping[int, str] = {1: _FORMAT_1}


def m002_words_and_headings(connection: sqlite3.Connection) -> None:
    """Add headings of passages, remembered folders, added texts, and the index of words."""
    connection.execute("ALTER TABLE passage ADD COLUMN heading TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE document ADD COLUMN is_added INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE document ADD COLUMN metadata TEXT")
    connection.execute(
        "CREATE TABLE folder (path TEXT PRIMARY KEY, options TEXT NOT NULL) WITHOUT ROWID"
    )
    connection.execute(
        "INSERT OR IGNORE INTO setting SELECT 'headings', 'false' WHERE EXISTS "
        "(SELECT 1 FROM setting)"
    )
    for index in (PASSAGES, PATHS):
        connection.execute(index.statement)
    passages = codes.ids(connection)
    if len(passages) > _MANY:
        warn(
            MigrationWarning(
                f"this collection was made by an older jlocal; the words of its {len(passages):,} "
                "passages are written first, which takes a while, once"
            )
        )
    PASSAGES.add(connection, passages)
    PATHS.add(connection, ids_of([id for (id,) in connection.execute("SELECT id FROM document")]))


# The step at position n leads from format n + 1 to the next.
_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (m002_words_and_headings,)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a file to the newest format, wholly or not at all.

    Raises:
        CollectionError: its tables are not those of its format.
        sqlite3.Error: it cannot be written, or is damaged.
        DamagedError: it is damaged.

    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version in FORMATS:
            check_schema(connection, path, FORMATS[version])
            for step in _STEPS[version - 1 :]:
                step(connection)
            connection.execute(f"PRAGMA user_version = {len(_STEPS) + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
