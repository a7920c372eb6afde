"""How a file of an older format becomes one of the newest: named steps, in order.

The format is the file's `user_version`. Which steps a file went through, and when, is in its
setting "migrations", for people: readers of format 2 pass over settings that they do not know.

A change of `schema.TABLES` is a new format: append the tables as they were, with the step that
changes them, to `MIGRATIONS`, and run scripts/freeze_collection.py for the tests.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from jlocal._version import __version__
from jlocal.caller import warn
from jlocal.collection.database import codes
from jlocal.collection.database.check import check_schema
from jlocal.collection.database.fulltext import PASSAGES, PATHS
from jlocal.collection.database.values import ids_of
from jlocal.errors import MigrationWarning

# Indexing this many passages takes a few seconds.
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
_RECORD = "migrations"


@dataclass(frozen=True)
class Migration:
    """A step from a format to the next.

    Attributes:
        tables: of the older format, as they were made.
        apply: changes these tables into those of the next format.

    """

    tables: str
    apply: Callable[[sqlite3.Connection], None]

    @property
    def name(self) -> str:
        """What the file calls the step."""
        return self.apply.__name__


def m002_words_and_headings(connection: sqlite3.Connection) -> None:
    """Add headings of passages, remembered folders, added texts, and the full-text indices."""
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


# The one at position n leads from format n + 1 to the next.
MIGRATIONS = (Migration(_FORMAT_1, m002_words_and_headings),)
# Of the files that can be migrated.
FORMATS = range(1, len(MIGRATIONS) + 1)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Migrate a file to the newest format in one transaction.

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
            steps = MIGRATIONS[version - 1 :]
            check_schema(connection, path, steps[0].tables)
            for step in steps:
                step.apply(connection)
            _record(connection, [step.name for step in steps])
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _record(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Add steps to those that the file says it went through."""
    row = connection.execute("SELECT value FROM setting WHERE key = ?", (_RECORD,)).fetchone()
    earlier: object = None
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        earlier = json.loads(row[0]) if row else None
    when = datetime.now(timezone.utc).isoformat("T", "seconds")
    steps = [{"name": name, "applied_at": when, "jlocal": __version__} for name in names]
    # Where nothing was indexed, there are no settings.
    connection.execute(
        "INSERT OR REPLACE INTO setting SELECT ?, ? WHERE EXISTS (SELECT 1 FROM setting)",
        (_RECORD, json.dumps((earlier if isinstance(earlier, list) else []) + steps)),
    )
