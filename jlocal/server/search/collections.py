"""The collections of a server: their names and content, and the threads that read them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from jlocal.server.options import ServerOptions
from jlocal.server.problem import Kind, Problem

# The readers of collections take long to import: the threads that read import them, so that
# a server is ready sooner.
if TYPE_CHECKING:
    from jlocal.collection.collection import Collection
    from jlocal.collection.config import CollectionConfig
    from jlocal.collection.document_names import DocumentNames

_THREADS = 4
# How many reads may wait for a thread.
_MOST_WAITING = 64
_MOST_FOLDERS = 100

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Contents:
    """The content of a version of a collection.

    Attributes:
        version: changes when the file does.
        config: how its vectors are made; None if nothing was indexed yet.
        documents: how many there are.
        passages: how many there are.
        names: of its documents.
        folders: names of folders, each with its number of documents.

    """

    version: tuple[tuple[int, int, int] | None, ...]
    config: CollectionConfig | None
    documents: int
    passages: int
    names: DocumentNames
    folders: list[tuple[str, int]]


@dataclass(eq=False)
class ServedCollection:
    """A collection that clients can name.

    Attributes:
        name: the name for clients.
        path: its file.

    """

    name: str
    path: Path
    _collection: Collection | None = field(default=None, repr=False)
    _contents: Contents | None = field(default=None, repr=False)
    _opening: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _reading: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def collection(self) -> Collection:
        """The collection, which is opened when it is first searched."""
        from jlocal.collection.collection import Collection

        with self._opening:
            if self._collection is None:
                self._collection = Collection(self.path)
            return self._collection

    def contents(self) -> Contents:
        """Read the content of the collection, once for each version of its file.

        Raises:
            CollectionError: there is no such file, or it cannot be read.

        """
        with self._reading:
            version = _version(self.path)
            if self._contents is None or self._contents.version != version:
                self._contents = _read(self.path, version)
            return self._contents

    def close(self) -> None:
        """Close the collection, if it is open."""
        if self._collection:
            self._collection.close()


class CollectionPool:
    """The collections of a server; for one event loop."""

    def __init__(self, options: ServerOptions) -> None:
        """Take the collections of the options, or those of this machine; open none."""
        self._named = _names(options.collections)
        self._known: dict[str, ServedCollection] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "search")
        self._waiting = 0

    async def all(self) -> list[ServedCollection]:
        """List the collections that are there now, in alphabetical order."""
        paths = self._named or await self.run(_on_this_machine)
        for name, served in [*self._known.items()]:
            if paths.get(name) != served.path:
                del self._known[name]
                served.close()
        for name, path in paths.items():
            if name not in self._known:
                self._known[name] = ServedCollection(name, path)
        return [self._known[name] for name in paths]

    async def find(self, name: str) -> ServedCollection:
        """Return the collection of a name.

        Raises:
            Problem: there is none.

        """
        served = await self.all()
        for one in served:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in served[:20]) or "none yet"
        raise Problem(
            Kind.NOT_FOUND,
            f"there is no collection {name[:80]!r} here; this server has: {known}",
            parameter="collection",
        )

    async def run(
        self, function: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs
    ) -> _T:
        """Call a function that reads a collection, in a thread.

        Raises:
            Problem: too many calls are waiting.

        """
        if self._waiting >= _MOST_WAITING:
            raise Problem(
                Kind.OVERLOADED, "too many searches are waiting; try again later", retry_after=1
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads, partial(function, *arguments, **keywords)
            )
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Close all collections; searches that run end first."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        for served in self._known.values():
            served.close()


def _on_this_machine() -> dict[str, Path]:
    from jlocal.collection.names import collections

    return collections()


def _names(paths: tuple[Path, ...]) -> dict[str, Path]:
    if not paths:
        return {}
    from jlocal.collection.names import name_of

    names: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        base = name = name_of(path) or path.stem
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names[name] = path
    return names


def _version(path: Path) -> tuple[tuple[int, int, int] | None, ...]:
    # SQLite writes changes to the log beside the file first.
    return tuple(_stamp(file) for file in (path, path.with_name(f"{path.name}-wal")))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None


def _read(path: Path, version: tuple[tuple[int, int, int] | None, ...]) -> Contents:
    from jlocal.collection.database.store import Store
    from jlocal.collection.document_names import DocumentNames

    with contextlib.closing(Store(path)) as store, store.snapshot():
        names = DocumentNames.of(store.folders(), store.paths())
        return Contents(
            version,
            store.config() if store.has_documents() else None,
            store.count_documents(),
            store.count_passages(),
            names,
            names.folders(store.paths(), _MOST_FOLDERS),
        )
