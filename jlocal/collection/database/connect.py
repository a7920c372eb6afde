"""Opening the file of a collection, and explaining SQLite's errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from jlocal.collection.database.check import COLLECTION, check_schema
from jlocal.collection.database.migrations import FORMATS, migrate
from jlocal.collection.database.schema import APPLICATION_ID, TABLES, VERSION
from jlocal.collection.database.values import DamagedError
from jlocal.collection.names import missing
from jlocal.errors import CollectionError, EmptyCollectionError
from jlocal.outputs.sqlite import Cause, Connection, cause_of, limit_work, open_file


class Alone(Connection):
    """Reads a file where there can be no memory that its readers and its indexer share.

    Close it soon: it does not see later changes by other processes.

    Attributes:
        reason: SQLite's message for writers.

    """

    reason = "attempt to write a readonly database"


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors, and values that are wrong, into one line that says what to do.

    Raises:
        CollectionError: SQLite raised an error, or jlocal never writes such a value.

    """
    try:
        with COLLECTION.translated_errors(path):
            yield
    except DamagedError as error:
        raise CollectionError(
            f"{path} is damaged: {error}; {COLLECTION.if_damaged}", path=path
        ) from error


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open a collection.

    Args:
        path: the file.
        create: make the file, or fill an empty one, where there is none.

    Raises:
        CollectionError: there is no such file, or it is no collection that can be read here.

    """
    COLLECTION.check_files(path)
    if not create and not path.exists():
        raise missing(path)
    with translated_errors(path):
        connection = _open(path, create)
        try:
            limit_work(connection, path)
            # Before anything is written: the file may be someone else's.
            version = _version(connection, path)
            if not version and not create:
                raise EmptyCollectionError(path)
            # Each commit waits until the disk has it, so that not even a power cut loses
            # vectors. Embedding takes far longer.
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
    connection = open_file(path, f"mode={'rwc' if create else 'rw'}", factory=Connection)
    try:
        connection.execute("PRAGMA schema_version")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        if create or cause_of(error) not in _NO_ROOM | _NO_ENTRY:
            raise
        return _open_alone(path, error)
    return connection


# Why SQLite cannot make or enlarge a file, and why it may not.
_NO_ROOM = {Cause.DISK_ERROR, Cause.NO_SPACE}
_NO_ENTRY = {Cause.CANNOT_OPEN, Cause.READ_ONLY}


def _open_alone(path: Path, error: Exception) -> sqlite3.Connection:
    """Open a file on a full disk or a read-only medium, which is where it cannot be shared."""
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        return _alone(path, "immutable=1", error)
    if cause_of(error) in _NO_ROOM and os.name == "posix":
        # The log is part of it. Locks would be kept in the memory that cannot be had.
        connection = _alone(path, "mode=ro&vfs=unix-none", error)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        return connection
    if os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK):
        raise CollectionError(
            f"{path} cannot be read in a folder that is read-only, because {log.name} beside it "
            "holds a part of it; copy both into a folder that can be written",
            path=path,
        )
    raise error


def _alone(path: Path, parameters: str, error: Exception) -> sqlite3.Connection:
    connection = open_file(path, parameters, factory=Alone)
    if isinstance(connection, Alone) and cause_of(error) in _NO_ROOM:
        connection.reason = str(error)
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Read the format of a file; 0 where there is nothing in it yet."""
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    objects = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if identity == 0 and version == 0 and objects is None:
        return 0
    if identity != APPLICATION_ID:
        raise CollectionError(
            f"{path} is not a collection of jlocal, but an SQLite file of another program; "
            "move it away, or name another file",
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
        if isinstance(connection, Alone) or cause_of(error) in _NO_ROOM | _NO_ENTRY:
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
