"""What is in a collection, and how far it is behind its folders; told without reading files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from jlocal.collection.config import Recipe
from jlocal.collection.database.store import Store
from jlocal.collection.index.folders import Choice, Folder, innermost, remembered_by, roots_of_all
from jlocal.collection.index.rebuild import unfinished
from jlocal.collection.index.survey import Surveyor
from jlocal.inputs.documents import Unreadable


@dataclass(frozen=True)
class FolderStatus:
    """A folder that the collection remembers.

    Attributes:
        path: absolute.
        folder: how its files are chosen and read.
        is_there: whether it exists and can be read.
        documents: that the collection has of it.
        changed: of these, files that may have changed since.
        missing: of these, files that were deleted, or are no longer chosen.
        others: files that are no documents: new ones, and those that are skipped.

    """

    path: str
    folder: Folder
    is_there: bool
    documents: int
    changed: int
    missing: int
    others: int


@dataclass(frozen=True)
class Status:
    """What is in a collection.

    Attributes:
        path: of its file.
        folders: that it remembers.
        outside: documents of files in none of these folders.
        added: documents that were added without a file.
        passages: how many vectors a search may find.
        kept: passages of removed and changed documents, which no search finds.
        recipe: how the vectors are made; None where nothing was indexed.
        has_model: whether the model is still where it was.
        size: bytes on the disk.
        is_rebuilt: whether a rebuild was interrupted, and can go on.

    """

    path: Path
    folders: tuple[FolderStatus, ...]
    outside: int
    added: int
    passages: int
    kept: int
    recipe: Recipe | None
    has_model: bool
    size: int
    is_rebuilt: bool

    @property
    def documents(self) -> int:
        """How many there are, files and added texts."""
        return sum(folder.documents for folder in self.folders) + self.outside + self.added


def status_of(store: Store) -> Status:
    """Compare a collection with the files on the disk, whose contents are not read.

    Raises:
        CollectionError: the collection cannot be read.

    """
    with store.snapshot():
        folders = remembered_by(store)
        roots = roots_of_all(folders)
        recipe = store.recipe()
        failures: list[Unreadable] = []
        surveyor = Surveyor(
            store.path,
            store.stamp,
            recipe.fields if recipe else (),
            failures.append,
            lambda _: None,
        )
        survey = surveyor.look(Choice(roots))
        there = {path for path in folders if Path(path).exists()}
        documents, missing = Counter[str](), Counter[str]()
        outside = 0
        for path in store.paths():
            root = innermost(path, roots)
            if root is None:
                outside += 1
                continue
            documents[root.name] += 1
            # A folder that is not there keeps its documents.
            missing[root.name] += int(path not in survey.seen and root.name in there)
        changed, others = Counter[str](), Counter[str]()
        for candidate in survey.candidates:
            if (root := innermost(candidate.path, roots)) is not None:
                (others if candidate.digest is None else changed)[root.name] += 1
        return Status(
            path=store.path,
            folders=tuple(
                FolderStatus(
                    *(path, folder, path in there, documents[path]),
                    *(changed[path], missing[path], others[path]),
                )
                for path, folder in folders.items()
            ),
            outside=outside,
            added=sum(1 for _ in store.added()),
            passages=store.count_passages(),
            kept=store.count_kept(),
            recipe=recipe,
            has_model=recipe is not None and Path(recipe.model_path).is_file(),
            size=size_of(store.path),
            is_rebuilt=unfinished(store.path) is not None,
        )


def size_of(path: Path) -> int:
    """Return how many bytes a collection takes on the disk, its log included."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)
