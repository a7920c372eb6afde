"""An open database: statements, transactions, cached blocks and disk space."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from jlocal.collection.database.connect import Alone, connect, translated_errors
from jlocal.outputs.sqlite import limit_work

_ROWS = 1024

_T = TypeVar("_T")
_A = TypeVar("_A", bound=np.generic)
_B = TypeVar("_B", bound=np.generic)


class Database:
    """An open file, for one thread at a time; `is_alone` as `connect.Alone` says."""

    # Bytes of blocks to cache for the next search. A server has up to eight files open.
    most_cached = 16 << 20

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file.

        Raises:
            CollectionError: it cannot be opened, or is not a collection.

        """
        self.path = path
        self._connection = connect(path, create=create)
        self.is_alone = isinstance(self._connection, Alone)
        self._file = _identity(path)
        self._kept: dict[str, Any] = {}
        self._kept_version: object = None

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()

    def is_current(self) -> bool:
        """Tell whether its path still names this file."""
        return _identity(self.path) == self._file

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with translated_errors(self.path):
            limit_work(self._connection, self.path)
            return self._connection.execute(statement, values).fetchall()

    def _value(self, statement: str, *values: object) -> Any:
        rows = self._rows(statement, *values)
        return rows[0][0] if rows else None

    def _blocks(self, statement: str, *values: object) -> Iterator[list[Any]]:
        with translated_errors(self.path):
            limit_work(self._connection, self.path)
            cursor = self._connection.execute(statement, values)
            while rows := cursor.fetchmany(_ROWS):
                yield rows
                limit_work(self._connection, self.path)

    # Values that were read and checked are cached until the file is written.

    def _known(self) -> dict[str, Any]:
        """Return the cache of the file's current version."""
        version = self._value("PRAGMA data_version")
        if version != self._kept_version:
            self._kept, self._kept_version = {}, version
        return self._kept

    def once(self, name: str, read: Callable[[], _T]) -> _T:
        """Return a cached value, or read it."""
        known = self._known()
        if name not in known:
            known[name] = read()
        value: _T = known[name]
        return value

    def _blocks_once(
        self, name: str, read: Callable[[], Iterator[tuple[npt.NDArray[_A], npt.NDArray[_B]]]]
    ) -> Iterator[tuple[npt.NDArray[_A], npt.NDArray[_B]]]:
        """Yield cached blocks, or read them and cache them unless they are large."""
        known = self._known()
        if name in known:
            yield from known[name]
            return
        blocks, size = [], 0
        for block in read():
            size += block[0].nbytes + block[1].nbytes
            if size <= self.most_cached:
                blocks.append(block)
            else:
                blocks.clear()
            yield block
        if size <= self.most_cached:
            known[name] = blocks

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with translated_errors(self.path):
            if isinstance(self._connection, Alone):
                raise sqlite3.OperationalError(self._connection.reason)
            limit_work(self._connection, self.path)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # After some errors, such as a full disk, SQLite has already rolled back.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                # The version changes only when other connections write.
                self._kept = {}

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the file as it is now, unaffected by an indexer; may be nested."""
        if self._connection.in_transaction:
            yield
            return
        with translated_errors(self.path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with translated_errors(self.path):
                self._connection.execute("ROLLBACK")

    def copy_to(self, other: Database) -> None:
        """Replace the content of another file, in one step for all of its readers.

        Raises:
            CollectionError: there is no room; the other file is unchanged.

        """
        with translated_errors(other.path):
            self._connection.backup(other._connection)
            other._kept = {}

    # Space

    def pages(self) -> tuple[int, int]:
        """Return the used and the free bytes of the file."""
        size, count, free = (
            int(self._value(f"PRAGMA {name}"))
            for name in ("page_size", "page_count", "freelist_count")
        )
        return size * (count - free), size * free

    def checkpoint(self) -> bool:
        """Move the log into the file; return False if readers prevent it."""
        self._rows("PRAGMA busy_timeout = 2000")
        return not self._value("PRAGMA wal_checkpoint(TRUNCATE)")

    def vacuum(self) -> None:
        """Rewrite the file without free pages.

        Raises:
            CollectionError: there is no room, or another process writes.

        """
        # The copy may be larger than memory.
        self._rows("PRAGMA temp_store = FILE")
        self._rows("VACUUM")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
