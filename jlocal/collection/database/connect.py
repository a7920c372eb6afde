"""Opening the file of a collection, and what SQLite's errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jlocal.collection.database.check import check_files, check_schema, distrust, limit_work
from jlocal.collection.database.migrations import FORMATS, migrate
from jlocal.collection.database.schema import APPLICATION_ID, TABLES, VERSION
from jlocal.collection.database.values import DamagedError
from jlocal.collection.names import missing
from jlocal.errors import CollectionError, EmptyCollectionError
from jlocal.printable import printable


class Connection(sqlite3.Connection):
    """Ends what is still being read when it is closed.

    An error keeps where it was raised, and so what was read there, and with it a lock of the file.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement, and remember it for as long as it is read."""
        cursor = super().execute(*arguments)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        """Close it, and all cursors. Idempotent."""
        for cursor in list(self._cursors):
            with contextlib.suppress(sqlite3.Error):
                cursor.close()
        super().close()


class Alone(Connection):
    """Reads a file where there can be no memory that its readers and its indexer share.

    Close it soon: it does not see what other processes write meanwhile.
    """


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors, and values that are wrong, into one line that says what to do.

    Raises:
        CollectionError: SQLite raised an error, or a value is not what jlocal writes.

    """
    try:
        yield
    except sqlite3.Error as error:
        raise CollectionError(_explain(path, str(error)), path=path) from error
    except UnicodeDecodeError as error:
        # What SQLite says holds a name from the file.
        raise CollectionError(f"{path} is damaged; delete it and index again", path=path) from error
    except DamagedError as error:
        raise CollectionError(
            f"{path} is damaged: {error}; delete it and index again", path=path
        ) from error


def _explain(path: Path, message: str) -> str:
    known = {
        "file is not a database": f"{path} is not a collection of jlocal: it is not an SQLite file",
        "database disk image is malformed": f"{path} is damaged; delete it and index again",
        "database is locked": f"{path} is in use by another process; try again later",
        "database or disk is full": f"cannot write {path}: no space is left; what was finished "
        "is kept, so make room and run it again",
        "disk I/O error": f"cannot read or write {path}: the disk reports an error, and may be "
        "full; what was finished is kept, so make room and run it again",
        "attempt to write a readonly database": f"{path} cannot be written: it is read-only",
        "no such module: fts5": "the SQLite of this Python lacks FTS5, which finds words; use "
        "another Python, such as one from python.org",
        "unable to open database file": f"cannot open {path}: no such folder, or no permission",
    }
    if message in known:
        return known[message]
    if message.startswith(_DAMAGE):
        return f"{path} is damaged; delete it and index again"
    return f"{path}: {printable(message)[:200]}"


# What SQLite and its module for Python say of values and pages that no sound file has.
_DAMAGE = (
    "interrupted",  # see `limit_work`
    "user-defined function raised exception",
    "Could not decode to UTF-8",
    "string or blob too big",
    "malformed database schema",
    "unsupported file format",
)


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open a collection.

    Args:
        path: the file.
        create: make the file, or fill an empty one, where there is none.

    Raises:
        CollectionError: there is no such file, or it is no collection that can be read here.

    """
    check_files(path)
    if not create and not path.exists():
        raise missing(path)
    with translated_errors(path):
        connection = _open(path, create)
        try:
            distrust(connection)
            limit_work(connection, path)
            # Before anything is written: the file may be someone else's.
            version = _version(connection, path)
            if not version and not create:
                raise EmptyCollectionError(path)
            # Each commit waits until the disk has it, so that not even a power cut loses what was
            # embedded. Beside embedding that takes no time.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            # The disk with room for temporary files may be the one that is full.
            connection.execute("PRAGMA temp_store = MEMORY")
            if not version:
                _make(connection)
            elif version < VERSION:
                _migrate(connection, path)
            check_schema(connection, path, TABLES)
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def _open(path: Path, create: bool) -> sqlite3.Connection:
    connection = _connect(path, f"mode={'rwc' if create else 'rw'}", Connection)
    try:
        connection.execute("PRAGMA schema_version")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        if create or str(error) not in (*_NO_ROOM, *_NO_ENTRY):
            raise
        return _open_alone(path, error)
    return connection


# What SQLite says where it cannot make or enlarge a file, and where it may not.
_NO_ROOM = ("disk I/O error", "database or disk is full")
_NO_ENTRY = ("unable to open database file", "attempt to write a readonly database")


def _open_alone(path: Path, error: Exception) -> sqlite3.Connection:
    """Open a file on a full disk or a read-only medium, which is where it cannot be shared."""
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        return _connect(path, "immutable=1", Alone)
    if str(error) in _NO_ROOM and os.name == "posix":
        # The log is part of it. Locks would be kept in the memory that cannot be had.
        connection = _connect(path, "mode=ro&vfs=unix-none", Alone)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        return connection
    if os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK):
        raise CollectionError(
            f"{path} cannot be read in a folder that is read-only, because {log.name} beside it "
            "holds a part of it; copy both into a folder that can be written",
            path=path,
        )
    raise error


def _connect(path: Path, parameters: str, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
    name = quote(os.fsencode(path.absolute()))
    return sqlite3.connect(
        f"file:{name}?{parameters}",
        uri=True,
        timeout=30,
        isolation_level=None,
        # Threads take turns.
        check_same_thread=False,
        factory=kind,
    )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Read the format of a file; 0 where there is nothing in it yet."""
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    objects = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if identity == 0 and version == 0 and objects is None:
        return 0
    if identity != APPLICATION_ID:
        raise CollectionError(
            f"{path} is not a collection of jlocal, but an SQLite file of another program",
            path=path,
        )
    if version not in (*FORMATS, VERSION):
        raise CollectionError(
            f"{path} has format {version}, and this jlocal knows format {VERSION}; install the "
            "jlocal that made it",
            path=path,
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    try:
        migrate(connection, path)
    except sqlite3.Error as error:
        # Locked or damaged it says nothing else than it would say later.
        if isinstance(connection, Alone) or str(error) in (*_NO_ROOM, *_NO_ENTRY):
            raise CollectionError(
                f"{path} was made by an older jlocal, and has to be written once before it is "
                "read; make room, or copy it into a folder that can be written",
                path=path,
            ) from error
        raise


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster.
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        for statement in TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
