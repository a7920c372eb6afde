"""Compare a collection with its folders."""

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
from jlocal.inputs.documents import Unreadable, skip_cause

_Kind = Literal["new", "changed", "unchanged", "skipped", "large", "failed"]


@dataclass(frozen=True)
class FolderStatus:
    """A folder that the collection remembers.

    Attributes:
        path: absolute.
        folder: how its files are chosen and read.
        is_there: whether it exists and can be read.
        documents: documents of the collection in it.
        changed: documents whose files may have changed.
        missing: documents whose files were deleted or are no longer chosen.
        new: files that the next run will index, judged by their beginnings.
        skipped: files, links and folders that it will skip, without the large files.
        large: files that it will skip as too large.
        failed: files that the last run could not index, and that have not changed since; files and
            folders that cannot be read.

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
    failed: int


@dataclass(frozen=True)
class Status:
    """The content of a collection.

    Attributes:
        path: of its file.
        folders: the folders that it remembers.
        outside: documents of files in none of these folders.
        added: documents that are added texts.
        passages: how many passages are searchable.
        kept: passages of removed and changed documents, which are hidden from searches.
        unfinished: passages that an interrupted run embedded for unfinished files; the next run
            uses them.
        config: how the vectors are made; None if nothing was indexed.
        has_model: whether the model's file still exists.
        size: bytes on the disk.
        is_rebuilt: whether a rebuild was interrupted, and can continue.

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
        """The number of documents, files and added texts."""
        return sum(folder.documents for folder in self.folders) + self.outside + self.added


def status_of(store: Store) -> Status:
    """Compare a collection with the files on the disk.

    Indexed files are compared by size and time; only the beginnings of other files are read.

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
            # A missing folder keeps its documents.
            missing[root.name] += int(path not in survey.seen and root.name in there)
        counts = Counter[tuple[str, _Kind]]()
        large, failed = store.left_out("large"), store.left_out("failed")
        for candidate in survey.candidates:
            if root := innermost(candidate.path, roots):
                counts[root.name, _kind(candidate, large, failed)] += 1
        for failure in failures:
            if root := innermost(absolute(failure.id), roots):
                counts[root.name, "failed"] += 1
        for item in survey.skipped:
            if root := innermost(absolute(item.path), roots):
                counts[root.name, "skipped"] += 1
        # Without files to index, no run will use these passages.
        is_behind = any(counts[name, kind] for name in folders for kind in ("new", "changed"))
        begun = store.count_unfinished() if is_behind else 0
        return Status(
            path=store.path,
            folders=tuple(
                FolderStatus(
                    *(path, folder, path in there, documents[path]),
                    *(counts[path, "changed"], missing[path], counts[path, "new"]),
                    *(counts[path, "skipped"], counts[path, "large"], counts[path, "failed"]),
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


def _kind(candidate: Candidate, large: Mapping[str, str], failed: Mapping[str, str]) -> _Kind:
    """Predict how the next run will treat a file."""
    if candidate.digest is not None and candidate.is_as_known:
        return "unchanged"
    if _is_among(candidate, failed):
        return "failed"
    reason = skip_cause(candidate.file, candidate.folder.encoding)
    if candidate.digest is not None:
        # The document of a file stays if only an extra can read the file.
        return "failed" if reason == "extra" else "changed"
    if not (candidate.is_named or candidate.folder.large) and _is_among(candidate, large):
        return "large"
    if reason is None:
        return "new"
    return "failed" if candidate.is_named and reason != "empty" else "skipped"


def _is_among(candidate: Candidate, left_out: Mapping[str, str]) -> bool:
    """Tell whether a run left this file out, and it has not changed since."""
    known = left_out.get(candidate.path)
    return known is not None and to_read_again(known) == to_read_again(candidate.stamp)


def size_of(path: Path) -> int:
    """Return the bytes of a collection on the disk, its log included."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)
