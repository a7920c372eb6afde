"""How a file of an older format becomes one of the newest: named steps, in order.

The format is the file's `user_version`. Which steps a file went through, and when, is in its
setting "migrations", for people: readers of format 2 pass over settings that they do not know.

A change of `schema.TABLES` is a new format: append the tables as they were to `formats`,
and the step that changes them to `MIGRATIONS`, and run scripts/freeze_collection.py for the tests.
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
from jlocal.collection.database.formats import FORMAT_1, FORMAT_2
from jlocal.collection.database.fulltext import PASSAGES, PATHS
from jlocal.collection.database.values import ids_of
from jlocal.errors import MigrationWarning
from jlocal.filenames import rejoined

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
        """The name of the step in the file."""
        return self.apply.__name__


def m002_words_and_headings(connection: sqlite3.Connection, many: int = 10_000) -> None:
    """Add headings of passages, remembered folders, added texts, and the full-text indices.

    It warns of more than `many` passages: indexing 10,000 takes a few seconds.
    """
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
    if len(passages) > many:
        warn(
            MigrationWarning(
                f"this collection was made by an older jlocal; the words of its {len(passages):,} "
                "passages are written first, which takes a while, once"
            )
        )
    PASSAGES.add(connection, passages)
    # The index reads only paths that are as they should be.
    _make_text(connection, "document")
    PATHS.add(connection, ids_of([id for (id,) in connection.execute("SELECT id FROM document")]))


def m003_paths_are_text(connection: sqlite3.Connection) -> None:
    """Make text of the paths, globs and settings that a C locale wrote as other than UTF-8."""
    for table in ("model_file", "folder"):
        _make_text(connection, table)
    if _make_text(connection, "document"):
        PATHS.clear(connection)
        documents = connection.execute("SELECT id FROM document").fetchall()
        PATHS.add(connection, ids_of([id for (id,) in documents]))
    for table, key, column in (("folder", "path", "options"), ("setting", "key", "value")):
        rows = connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall()
        connection.executemany(
            f"UPDATE {table} SET {column} = ? WHERE {key} = ?",
            [(new, name) for name, value in rows if (new := _rejoined(value)) != value],
        )


def _make_text(connection: sqlite3.Connection, table: str) -> bool:
    """Make text of the paths that are BLOBs in UTF-8; tell whether there were any.

    Earlier versions wrote a path as a BLOB if it was not ASCII and the locale was C.
    """
    blobs = connection.execute(f"SELECT path FROM {table} WHERE typeof(path) = 'blob'").fetchall()
    were_any = False
    for (blob,) in blobs:
        with contextlib.suppress(UnicodeDecodeError):
            path = blob.decode()
            # The same path may have been written in another locale too.
            connection.execute(
                f"UPDATE OR IGNORE {table} SET path = ? WHERE path = ?", (path, blob)
            )
            connection.execute(f"DELETE FROM {table} WHERE path = ?", (blob,))
            were_any = True
    return were_any


def _rejoined(value: object) -> object:
    """Return JSON in which lone surrogates that stand for UTF-8 are characters again."""
    # JSON has lone surrogates as escapes.
    if not isinstance(value, str) or "\\ud" not in value:
        return value
    try:
        return json.dumps(_with_texts(json.loads(value)))
    except (ValueError, RecursionError):
        return value


def _with_texts(value: object) -> object:
    if isinstance(value, str):
        return rejoined(value)
    if isinstance(value, list):
        return [_with_texts(item) for item in value]
    if isinstance(value, dict):
        return {rejoined(name): _with_texts(item) for name, item in value.items()}
    return value


# The one at position n leads from format n + 1 to the next.
MIGRATIONS = (
    Migration(FORMAT_1, m002_words_and_headings),
    Migration(FORMAT_2, m003_paths_are_text),
)
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
