"""The collections that a model may search: open files, shared models, and names of documents."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.collection.collection import Collection
from jlocal.collection.database.store import Store
from jlocal.collection.document_names import DocumentNames
from jlocal.collection.location import is_id
from jlocal.collection.names import collections, name_of
from jlocal.collection.search.pathfilter import path_filter
from jlocal.errors import OtherConfigError
from jlocal.filenames import native
from jlocal.mcp.clean import shown_name
from jlocal.mcp.models import Models

if TYPE_CHECKING:
    from jlocal.collection.search.hits import Hit
    from jlocal.collection.search.ranking import Mode

_UNREADABLE = "\ufffd"


class UnknownError(Exception):
    """There is no such collection or document; the message is one line for the model."""


@dataclass(eq=False)
class Shelf:
    """A collection that can be named.

    Attributes:
        name: the name for the model.
        path: its file.
        collection: opened when it is first read.
        shows_paths: whether documents are named by their paths on this machine.

    """

    name: str
    path: Path
    shows_paths: bool
    collection: Collection = field(repr=False)

    def naming(self) -> Callable[[str], str]:
        """Return the function that names a document by its path or id."""
        if self.shows_paths:
            return shown_name
        names = self._names()
        return lambda path: shown_name(names.name(path))

    def find(self, document: str) -> str | None:
        """Return the path or id of a document; None if the collection has none of this name."""
        with contextlib.closing(Store(self.path)) as store, store.snapshot():
            if is_id(document) and store.is_added(document):
                return document
            if self.shows_paths:
                path = native(document)
                match = path if store.is_added(path) is False else None
            else:
                match = self._names().find(store, document, "file")
            if match is None and _UNREADABLE in document:
                name = self.naming()
                documents = (*store.added(), *store.paths())
                match = next((path for path in documents if name(path) == document), None)
        return match

    def filter(self, glob: str | None) -> str | Callable[[str], bool] | None:
        """Return the filter of a search: a glob is compared with the names that are shown."""
        if glob is None or self.shows_paths:
            return glob
        names, matches = self._names(), path_filter(glob)
        return lambda path: matches(names.name(path))

    def _names(self) -> DocumentNames:
        with contextlib.closing(Store(self.path)) as store, store.snapshot():
            return DocumentNames.of(store.folders(), store.paths())


class Library:
    """The collections that a model may search; thread-safe."""

    def __init__(
        self, models: Models, paths: Sequence[Path] = (), *, shows_paths: bool = False
    ) -> None:
        """Open nothing yet.

        Args:
            models: lends the models of the collections.
            paths: files of collections; empty for those of this machine that have names.
            shows_paths: name documents by their paths, for a client on this machine; otherwise by
                the folder that was indexed and the path below it.

        """
        self.shows_paths = shows_paths
        self._models = models
        self._fixed = _names(paths)
        self._shelves: dict[str, Shelf] = {}
        self._lock = threading.Lock()

    def shelves(self) -> list[Shelf]:
        """List the collections that are there now.

        Raises:
            CollectionError: the folder of collections cannot be read.

        """
        named = self._fixed or collections()
        with self._lock:
            for name, path in named.items():
                known = self._shelves.get(name)
                if known is None or known.path != path:
                    self._shelves[name] = Shelf(name, path, self.shows_paths, Collection(path))
            return [self._shelves[name] for name in named]

    def chosen(self, name: str | None) -> list[Shelf]:
        """Return the collection of a name, or for None all.

        Raises:
            UnknownError: there is none.

        """
        shelves = self.shelves()
        chosen = [shelf for shelf in shelves if name in (None, shelf.name)]
        if not chosen and not shelves:
            raise UnknownError("nothing is indexed yet; the user can run: jlocal index FOLDER")
        if not chosen:
            known = ", ".join(shelf.name for shelf in shelves[:20])
            raise UnknownError(
                f"there is no collection {shown_name(name or '')[:80]}; choose: {known}"
            )
        return chosen

    def search(
        self, shelf: Shelf, query: str, n: int, glob: str | None, mode: Mode
    ) -> list[Hit]:  # fmt: skip
        """Search a collection with a model that collections share.

        Raises:
            JlocalError: as of `Collection.search`.

        """
        collection, filter = shelf.collection, shelf.filter(glob)
        if mode == "words":
            return collection.search(query, n, filter, mode=mode)
        try:
            return self._search(shelf, query, n, filter, mode)
        except OtherConfigError:
            # It was made anew meanwhile, perhaps with another model.
            return self._search(shelf, query, n, filter, mode)

    def _search(
        self,
        shelf: Shelf,
        query: str,
        n: int,
        filter: str | Callable[[str], bool] | None,
        mode: Mode,
    ) -> list[Hit]:
        collection = shelf.collection
        with self._models.lend(collection.config, shelf.path) as model:
            if collection.model is not model:
                collection.use_model(model)
            return collection.search(query, n, filter, mode=mode)

    def close(self) -> None:
        """Close all collections and models."""
        with self._lock:
            for shelf in self._shelves.values():
                shelf.collection.close()
        self._models.close()


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """Name files of collections; equal names get numbers."""
    names: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        base = name = shown_name(name_of(path) or path.stem)
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names[name] = path
    return names
