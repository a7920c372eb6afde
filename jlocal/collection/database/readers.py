"""A pool of open files of a collection: each serves one thread at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jlocal.collection.database.store import Store
from jlocal.errors import CollectionError

# Idle files to keep open for the next searches; more are opened when more threads search at once.
_MOST_IDLE = 8


class Readers:
    """Lends open files to threads; thread-safe."""

    def __init__(self, path: Path) -> None:
        """Name a collection; open nothing yet."""
        self._path = path
        self._idle: list[Store] = []
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()

    def check(self) -> None:
        """Raise unless the collection can be used.

        Raises:
            CollectionError: it was closed, or opened in another process.

        """
        if self._is_closed:
            raise CollectionError(f"{self._path} is closed; make a new Collection", path=self._path)
        if os.getpid() != self._process:
            raise CollectionError(
                f"{self._path} cannot be used across fork; open it in the new process",
                path=self._path,
            )

    @contextmanager
    def one(self) -> Iterator[Store]:
        """Lend an open file to this thread.

        Raises:
            CollectionError: the collection was closed, or the file cannot be opened.

        """
        self.check()
        store = self._take()
        try:
            yield store
        except BaseException:
            store.close()
            raise
        self._give_back(store)

    def _take(self) -> Store:
        while True:
            with self._lock:
                if not self._idle:
                    break
                store = self._idle.pop()
            if store.is_current():
                return store
            store.close()
        return Store(self._path)

    def _give_back(self, store: Store) -> None:
        with self._lock:
            if not self._is_closed and not store.is_alone and len(self._idle) < _MOST_IDLE:
                self._idle.append(store)
                return
        store.close()

    def close(self) -> None:
        """Close the idle files now, and the rest when their threads are done. Idempotent."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for store in idle:
            store.close()
