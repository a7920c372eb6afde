"""The file of a collection: its tables, opening it, and what SQLite's errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jlocal.collection.check import bound_work, check_files, check_schema, distrust
from jlocal.collection.locations import missing
from jlocal.collection.values import DamagedError
from jlocal.errors import CollectionError, EmptyCollectionError
from jlocal.printable import printable

APPLICATION_ID = 0x6A6C6F63  # "jloc"
VERSION = 1

# A path that is no UTF-8 is a BLOB. In a passage the vector stands before the text, because
# SQLite would read all of a long text to reach what stands behind it.
_TABLES = """
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
def plain_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors, and values that are wrong, into one line that says what to do.

    Raises:
        CollectionError: SQLite raised an error, or a value is not what jlocal writes.

    """
    try:
        yield
    except sqlite3.Error as error:
        raise CollectionError(_explain(path, str(error))) from error
    except UnicodeDecodeError as error:
        # What SQLite says holds a name from the file.
        raise CollectionError(f"{path} is damaged; delete it and index again") from error
    except DamagedError as error:
        raise CollectionError(f"{path} is damaged: {error}; delete it and index again") from error


def _explain(path: Path, message: str) -> str:
    known = {
        "file is not a database": f"{path} is no collection: it is not an SQLite file",
        "database disk image is malformed": f"{path} is damaged; delete it and index again",
        "database is locked": f"{path} is in use by another process; try again later",
        "database or disk is full": f"cannot write {path}: no space is left; what was finished "
        "is kept, so make room and run it again",
        "disk I/O error": f"cannot read or write {path}: the disk reports an error, and may be "
        "full; what was finished is kept, so make room and run it again",
        "attempt to write a readonly database": f"{path} cannot be written: it is read-only",
        "unable to open database file": f"cannot open {path}: no such folder, or no permission",
    }
    if message in known:
        return known[message]
    if message.startswith(_DAMAGE):
        return f"{path} is damaged; delete it and index again"
    return f"{path}: {printable(message)[:200]}"


# What SQLite and its module for Python say of values and pages that no sound file has.
_DAMAGE = (
    "interrupted",  # see `bound_work`
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
    with plain_errors(path):
        connection = _open(path, create)
        try:
            distrust(connection)
            bound_work(connection, path)
            # Before anything is written: the file may be someone else's.
            if not _is_ours(connection, path):
                if not create:
                    raise EmptyCollectionError(path)
                _make(connection)
            check_schema(connection, path, _TABLES)
            connection.execute("PRAGMA foreign_keys = ON")
            # Each commit waits until the disk has it, so that not even a power cut loses what was
            # embedded. Beside embedding that takes no time.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            # The disk with room for temporary files may be the one that is full.
            connection.execute("PRAGMA temp_store = MEMORY")
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
            "holds a part of it; copy both into a folder that can be written"
        )
    raise error


def _connect(path: Path, parameters: str, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
    name = quote(str(path.absolute()), errors="surrogateescape")
    return sqlite3.connect(
        f"file:{name}?{parameters}",
        uri=True,
        timeout=30,
        isolation_level=None,
        # Threads take turns.
        check_same_thread=False,
        factory=kind,
    )


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    objects = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if identity == 0 and version == 0 and objects is None:
        return False
    if identity != APPLICATION_ID:
        raise CollectionError(f"{path} is no collection: it is another program's SQLite file")
    if version != VERSION:
        raise CollectionError(
            f"{path} has format {version}, and this jlocal knows format {VERSION}; install the "
            "jlocal that made it"
        )
    return True


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster.
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


@contextlib.contextmanager
def sole_indexer(path: Path, wait: float) -> Iterator[None]:
    """Keep other indexers out; the system lets go of the lock however the process ends.

    Args:
        path: of the collection.
        wait: how many seconds to wait for another one.

    Raises:
        CollectionError: another one is still at work.

    """
    check_files(path)
    aside = path.with_name(f"{path.name}-lock")
    deadline = time.monotonic() + wait
    while (lock := _try_to_lock(aside, deadline)) is None:
        if time.monotonic() >= deadline:
            raise CollectionError(
                f"another jlocal is indexing into {path}; run this again when it has ended"
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
        lock.close()


def _try_to_lock(aside: Path, deadline: float) -> sqlite3.Connection | None:
    """Lock an empty database, which works on every system; None if another has it."""
    try:
        # What is in the way of it may be a link, which is not followed, or a pipe.
        with contextlib.suppress(FileExistsError), aside.open("xb"):
            pass
        status = aside.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            raise CollectionError(f"{aside} is no lock that jlocal makes; remove it")
        check_files(aside)
        before = status.st_ino
    except OSError as error:
        # Whoever had it may just have removed it.
        if isinstance(error, FileNotFoundError) and aside.parent.is_dir():
            return None
        raise CollectionError(f"cannot write {aside}: {error.strerror or error}") from error
    left = max(0.0, deadline - time.monotonic())
    lock = sqlite3.connect(aside, timeout=left, isolation_level=None)
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")
        lock.execute("BEGIN EXCLUSIVE")
        # Whoever had it before has removed the file, and another may have made one since.
        if aside.stat().st_ino == before:
            return lock
    except (sqlite3.Error, OSError):
        pass
    lock.close()
    return None
