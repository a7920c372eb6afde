"""Forget a folder: stop updating it, and remove its documents."""

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
    """The folders and documents that are forgotten with a path.

    Attributes:
        path: absolute.
        folders: the remembered folders at or below the path.
        documents: paths of the documents that are removed.
        outer: the remembered folder above the path, which keeps the documents; None if there is
            none.

    """

    path: str
    folders: tuple[str, ...]
    documents: tuple[str, ...]
    outer: str | None


def plan(store: Store, path: str | Path) -> Forgetting:
    """Find the folders and documents to forget; the path need not exist any more.

    Raises:
        CollectionError: the collection has no folder and no document at this path.
        InsideFolderError: the path is only a part of a remembered folder.

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
