"""What is in a collection, and how far it is behind its folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.store import Store
from jlocal.collection.index.folders import Choice, Folder, innermost, remembered_by, roots_of_all
from jlocal.collection.index.paths import absolute
from jlocal.collection.index.rebuild import unfinished
from jlocal.collection.index.survey import Candidate, Surveyor, to_read_again
from jlocal.inputs.documents import Unreadable, first_look

_Kind = Literal["new", "changed", "unchanged", "skipped", "large"]


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
        new: files that the next run indexes, as far as their beginnings show.
        skipped: files that it skips, and links and folders, without the large files.
        large: files that are skipped because they have too much text.

    """

    path: str
    folder: Folder
    is_there: bool
    documents: int
    changed: int
    missing: int
    new: int
    skipped: int
    large: int


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
        unfinished: passages that an interrupted run has computed for files that it did not finish;
            the next run uses them.
        config: how the vectors are made; None where nothing was indexed.
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
    unfinished: int
    config: CollectionConfig | None
    has_model: bool
    size: int
    is_rebuilt: bool

    @property
    def documents(self) -> int:
        """How many there are, files and added texts."""
        return sum(folder.documents for folder in self.folders) + self.outside + self.added


def status_of(store: Store) -> Status:
    """Compare a collection with the files on the disk.

    Files that it has are compared by size and time; of others only the beginning is read.

    Raises:
        CollectionError: the collection cannot be read.

    """
    with store.snapshot():
        folders = remembered_by(store)
        roots = roots_of_all(folders)
        config = store.config()
        failures: list[Unreadable] = []
        surveyor = Surveyor(
            store.path,
            store.stamp,
            store.paths,
            config.fields if config else (),
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
        counts = Counter[tuple[str, _Kind]]()
        large = store.large_files()
        for candidate in survey.candidates:
            if root := innermost(candidate.path, roots):
                counts[root.name, _kind(candidate, large)] += 1
        for item in survey.skipped:
            if root := innermost(absolute(item.path), roots):
                counts[root.name, "skipped"] += 1
        # Without files to come, nobody will use what was computed.
        is_behind = any(counts[name, kind] for name in folders for kind in ("new", "changed"))
        begun = store.count_unfinished() if is_behind else 0
        return Status(
            path=store.path,
            folders=tuple(
                FolderStatus(
                    *(path, folder, path in there, documents[path]),
                    *(counts[path, "changed"], missing[path], counts[path, "new"]),
                    *(counts[path, "skipped"], counts[path, "large"]),
                )
                for path, folder in folders.items()
            ),
            outside=outside,
            added=sum(1 for _ in store.added()),
            passages=store.count_passages(),
            kept=store.count_kept() - begun,
            unfinished=begun,
            config=config,
            has_model=config is not None and Path(config.model_path).is_file(),
            size=size_of(store.path),
            is_rebuilt=unfinished(store.path) is not None,
        )


def _kind(candidate: Candidate, large: Mapping[str, str]) -> _Kind:
    """Tell what the next run will find a file to be."""
    if candidate.digest is not None:
        return "unchanged" if candidate.is_as_known else "changed"
    if not (candidate.is_named or candidate.folder.large):
        known = large.get(candidate.path)
        if known and to_read_again(known) == to_read_again(candidate.stamp):
            return "large"
    reason = first_look(candidate.file, candidate.folder.encoding)
    return "skipped" if reason and (reason == "empty" or not candidate.is_named) else "new"


def size_of(path: Path) -> int:
    """Return how many bytes a collection takes on the disk, its log included."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)
