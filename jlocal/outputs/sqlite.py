"""SQLite files: opening them with safe settings, and explaining errors in one line."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import stat
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jlocal.errors import FileError
from jlocal.printable import printable

# No text of a document is longer in UTF-8.
_LONGEST_VALUE = 256 << 20

# Work is counted in SQLite's virtual machine instructions, of which a second has about 10^8. A
# statement over sound tables needs a few for each byte of the file at most.
_UNIT = 10_000_000
_LEAST_UNITS = 20
_BYTES_PER_UNIT = 500_000

_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")


class Connection(sqlite3.Connection):
    """A connection that ends unfinished reads when it is closed.

    An error keeps the frame in which it was raised, and so a cursor there, and a lock of the file.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement, and keep its cursor until all rows are read."""
        cursor = super().execute(*arguments)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        """Close it, and all cursors. Idempotent."""
        for cursor in list(self._cursors):
            with contextlib.suppress(sqlite3.Error):
                cursor.close()
        super().close()


def open_file(
    path: Path,
    parameters: str = "mode=rw",
    *,
    timeout: float = 30,
    factory: type[sqlite3.Connection] = Connection,
) -> sqlite3.Connection:
    """Open a file that may be hostile, for threads that take turns, without implicit transactions.

    SQLite checks pages, runs no function for a schema, and refuses values of more than 256 MiB.

    Args:
        path: the file.
        parameters: of SQLite's URI; "mode=rwc" makes the file where there is none.
        timeout: how many seconds to wait for another process.
        factory: class of the connection.

    Raises:
        sqlite3.Error: it cannot be opened; other errors come with the first statement.

    """
    name = quote(os.fsencode(path.absolute()))
    connection = sqlite3.connect(
        f"file:{name}?{parameters}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        # From Python 3.11 on.
        if hasattr(connection, "setlimit"):
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    except BaseException:
        connection.close()
        raise
    return connection


def limit_work(connection: sqlite3.Connection, path: Path) -> None:
    """Let a statement end as "interrupted" where it does not end by itself, or give a row.

    In a damaged file a page may be among its own descendants. To be called before each statement,
    and between rows where there may be many.
    """
    size = 0
    with contextlib.suppress(OSError):
        size = path.stat().st_size
    units = _LEAST_UNITS + size // _BYTES_PER_UNIT
    # A function in Python would be where Ctrl-C arrives, and SQLite would swallow it.
    connection.set_progress_handler(itertools.repeat(None, units).__next__, _UNIT)


class Cause(Enum):
    """The cause of an error of SQLite."""

    NO_SPACE = auto()
    DISK_ERROR = auto()
    READ_ONLY = auto()
    CANNOT_OPEN = auto()
    LOCKED = auto()
    NOT_SQLITE = auto()
    DAMAGED = auto()
    NO_FTS5 = auto()
    OTHER = auto()


# How the messages begin, which are the same in all versions of SQLite and of Python.
_CAUSES = {
    "database or disk is full": Cause.NO_SPACE,
    "disk I/O error": Cause.DISK_ERROR,
    "attempt to write a readonly database": Cause.READ_ONLY,
    "unable to open database file": Cause.CANNOT_OPEN,
    "database is locked": Cause.LOCKED,
    "database table is locked": Cause.LOCKED,
    "locking protocol": Cause.LOCKED,
    "file is not a database": Cause.NOT_SQLITE,
    "database disk image is malformed": Cause.DAMAGED,
    "malformed database schema": Cause.DAMAGED,
    "unsupported file format": Cause.DAMAGED,
    "no such module: fts5": Cause.NO_FTS5,
    # Messages about values and pages that no sound file has.
    "interrupted": Cause.DAMAGED,  # see `limit_work`
    "user-defined function raised exception": Cause.DAMAGED,
    "Could not decode to UTF-8": Cause.DAMAGED,
    "string or blob too big": Cause.DAMAGED,
}


def cause_of(error: Exception) -> Cause:
    """Tell why SQLite failed; where its message is no UTF-8, it quotes a damaged file."""
    if isinstance(error, UnicodeDecodeError):
        return Cause.DAMAGED
    message = str(error)
    return next(
        (cause for start, cause in _CAUSES.items() if message.startswith(start)), Cause.OTHER
    )


@dataclass(frozen=True)
class FileKind:
    """A kind of SQLite file, and the words of errors about such files.

    Attributes:
        error: class of the errors.
        name: the kind in words, such as "a collection of jlocal".
        use: the operation that failed, such as "read or write".
        outcome: what an error leaves behind, such as "what was finished is kept".
        if_damaged: what to do about a damaged one, such as "delete it and index again".
        if_unusable: what to do about one that cannot be used as it is, such as "name another file".

    """

    error: type[FileError]
    name: str
    use: str
    outcome: str
    if_damaged: str
    if_unusable: str

    @contextlib.contextmanager
    def translated_errors(self, path: Path) -> Iterator[None]:
        """Turn SQLite's errors into one line that says what to do.

        Raises:
            FileError: SQLite raised an error; of the class `error`.

        """
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self.explained(path, error) from error

    def explained(self, path: Path, error: Exception) -> FileError:
        """Return an error of SQLite as one that says what to do."""
        retry = f"{self.outcome}; make room and run it again"
        cause = cause_of(error)
        if cause is Cause.OTHER:
            reason = printable(str(error))[:200]
            message = f"cannot {self.use} {path}: {reason}; {self.if_unusable}"
        else:
            message = {
                Cause.NO_SPACE: f"cannot write {path}: No space left on device; {retry}",
                Cause.DISK_ERROR: f"cannot {self.use} {path}: the disk reports an error, and may "
                f"be full; {retry}",
                Cause.READ_ONLY: f"cannot write {path}: it is read-only; make it writable, or "
                f"{self.if_unusable}",
                Cause.CANNOT_OPEN: f"cannot open {path}: no such folder, or no permission; "
                f"{self.if_unusable}",
                Cause.LOCKED: f"{path} is in use by another process; {self.outcome}; try again "
                "later",
                Cause.NOT_SQLITE: f"{path} is not {self.name}: it is not an SQLite file; "
                f"move it away, or {self.if_unusable}",
                Cause.DAMAGED: f"{path} is damaged; {self.if_damaged}",
                Cause.NO_FTS5: "the SQLite of this Python lacks FTS5, which finds words; use "
                "another Python, such as one from python.org",
            }[cause]
        return self.error(message, path=path)

    def check_files(self, path: Path) -> None:
        """Refuse a pipe, a device or a folder in place of the file, and links beside it.

        Raises:
            FileError: SQLite should not open the file, or one beside it; of the class `error`.

        """
        kind = self._type_of(path, follow=True)
        if kind not in ("", "regular file"):
            raise self.error(f"{path} is a {kind}; move it away, or name a regular file", path=path)
        # SQLite looks for them beside the file that a link names.
        real = os.path.realpath(path)
        for end in ("-wal", "-shm", "-journal"):
            aside = Path(f"{real}{end}")
            kind = self._type_of(aside, follow=False)
            if kind not in ("", "regular file"):
                raise self.error(
                    f"{aside} is a {kind}, where a file of {path} belongs; remove it", path=aside
                )
            if end == "-journal" and kind and self._names_another_file(aside):
                raise self.error(f"{aside} was not left by jlocal; remove it", path=aside)

    def _type_of(self, path: Path, *, follow: bool) -> str:
        """Return the kind of file at a path; "" if there is none."""
        try:
            mode = (path.stat() if follow else path.lstat()).st_mode
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self.error(f"cannot open {printable(str(path))}: {reason}", path=path) from None
        types = {stat.S_IFREG: "regular file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
        types |= {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        return types.get(stat.S_IFMT(mode), "device")

    def _names_another_file(self, journal: Path) -> bool:
        """Whether SQLite might delete a file for this journal: the one whose name ends it."""
        try:
            with journal.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - len(_JOURNAL_END)))
                return file.read() == _JOURNAL_END and size > len(_JOURNAL_END)
        except OSError as error:
            raise self.error(
                f"cannot read {journal}: {error.strerror or error}", path=journal
            ) from None
