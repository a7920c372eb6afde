"""Forgetting a folder: it is no longer kept up to date, and its documents are removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jlocal.collection.database.batch import Batch
from jlocal.collection.database.store import Store
from jlocal.collection.index.folders import Folder, innermost, roots_of_all
from jlocal.collection.index.paths import absolute, folders_above
from jlocal.errors import CollectionError, InsideFolderError

_FEW = 1000


@dataclass(frozen=True)
class Forgetting:
    """What is forgotten with a path.

    Attributes:
        path: absolute.
        folders: remembered folders that are the path, or in it.
        documents: paths of the documents that are removed.
        outer: the remembered folder that the path lies in, which keeps the documents; None where
            there is no such folder.

    """

    path: str
    folders: tuple[str, ...]
    documents: tuple[str, ...]
    outer: str | None


def plan(store: Store, path: str | Path) -> Forgetting:
    """Find what would be forgotten; the path need not exist any more.

    Raises:
        CollectionError: the collection has nothing of this path.
        InsideFolderError: the path is only a part of a folder that is remembered.

    """
    location = absolute(path)
    remembered = store.folders()
    folders = tuple(folder for folder in remembered if _is_in(folder, location))
    others = roots_of_all({name: Folder() for name in remembered if name not in folders})
    outer = innermost(location, others)
    if outer and not folders:
        raise InsideFolderError(Path(location), Path(outer.name))
    documents = () if outer else tuple(name for name in store.paths() if _is_in(name, location))
    if not folders and not documents:
        raise CollectionError(
            f"{path} is not in this collection{_listed(list(remembered))}", path=Path(path)
        )
    return Forgetting(location, folders, documents, outer.name if outer else None)


def forget(store: Store, path: str | Path) -> int:
    """Forget a path, and return how many documents were removed; errors as of `plan`."""
    forgetting = plan(store, path)
    for folder in forgetting.folders:
        store.remove_folder(folder)
    for start in range(0, len(forgetting.documents), _FEW):
        store.write(Batch(removed=list(forgetting.documents[start : start + _FEW])))
    return len(forgetting.documents)


def _is_in(path: str, location: str) -> bool:
    return path == location or location in folders_above(path)


def _listed(names: list[str]) -> str:
    if not names:
        return ", which remembers no folders"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f", which remembers {', '.join(names[:3])}{more}"
