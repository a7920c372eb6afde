"""The first pass of a run: find the files, and those that may have changed."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jlocal.collection.index.folders import Choice, Folder, Root, innermost, is_deleted
from jlocal.collection.index.large import MOST_TOKENS
from jlocal.collection.index.paths import REBUILD, absolute
from jlocal.collection.index.report import Skipped
from jlocal.inputs import formats
from jlocal.inputs.documents import Unreadable, system_message
from jlocal.inputs.records import record_format
from jlocal.inputs.walk import find_in_roots

# The stamp and digest of a document; None if the collection has no document of the path.
Known = Callable[[str], "tuple[str | None, bytes] | None"]

# Suffixes of the files beside a collection.
_OWN_ENDINGS = tuple(
    f"{made}{beside}"
    for made in ("", REBUILD)
    for beside in ("", "-wal", "-shm", "-lock", "-journal")
)
# The prefix of an encoding's name in a stamp; and the end of a stamp whose file the next run reads
# again, because it may have changed unseen or a part of it could not be read.
_READ_AS, _AGAIN = "encoding=", " again"
# A file that was modified this shortly before it was read can change again with the same times.
_TICK_NS = 2_000_000_000
# Seconds between two reports of the number of found files.
_EACH = 500


@dataclass(frozen=True)
class Candidate:
    """A file that is new, or may have changed.

    Attributes:
        file: its name in reports.
        path: its absolute path.
        kind: how it is read, as `records.kind_of` returns it.
        size: bytes.
        stamp: the stamp of its state.
        digest: the digest of its document; None if it is new.
        is_as_known: whether its stamp is that of its document, so that it is only read again.
        is_named: whether the caller named it; otherwise it was found in a folder.
        folder: the options for reading it.

    """

    file: Path
    path: str
    kind: str
    size: int
    stamp: str
    digest: bytes | None
    is_as_known: bool
    is_named: bool
    folder: Folder


@dataclass
class Survey:
    """The files of a choice.

    Attributes:
        roots: names of the requested paths, by absolute path.
        seen: absolute paths of all files that were found.
        unread: absolute paths that could not be read.
        unusable: absolute paths of files that were read and skipped, or failed as a whole.
        empty: why a root has no files, by absolute path: it is missing, or no file is chosen.
        candidates: files to read, in the order of the walk, but large files last.
        skipped: broken links, and folders of generated files.
        unchanged: how many files are unchanged.
        deleted: documents of single remembered files that were deleted.
        forgotten: remembered paths that are missing although their folders exist.

    """

    roots: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    unusable: set[str] = field(default_factory=set)
    empty: dict[str, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unchanged: int = 0
    deleted: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)


class Surveyor:
    """Finds files without reading them."""

    def __init__(
        self,
        collection: Path,
        known: Known,
        paths: Callable[[], Iterable[str]],
        fields: Sequence[str],
        on_failure: Callable[[Unreadable], None],
        on_found: Callable[[int], None],
    ) -> None:
        """Prepare to find files.

        Args:
            collection: its file, which is not indexed into itself.
            known: returns the stamp and digest of the document at an absolute path.
            paths: absolute paths of all documents that are files.
            fields: the fields of records, as in the config.
            on_failure: called with each path that cannot be read.
            on_found: called now and then with the number of files found so far.

        """
        self._collection, self._known, self._paths = collection, known, paths
        self._fields = fields
        self._on_failure, self._on_found = on_failure, on_found
        self._result = Survey()
        self._roots: Mapping[str, Root] = {}

    def look(self, choice: Choice) -> Survey:
        """Find all files of a choice."""
        survey = self._result
        survey.roots = {path: root.name for path, root in choice.roots.items()}
        self._roots = choice.roots
        roots = ((root.name, root.folder.filters, root.outer) for root in choice.roots.values())
        for item in find_in_roots(roots, self._generated):
            if isinstance(item, Unreadable):
                self._unlisted(item)
            elif (path := absolute(item)) not in survey.seen and (
                path in survey.roots or not self._is_own(item)
            ):
                self._file(item, path)
                if len(survey.seen) % _EACH == 0:
                    self._on_found(len(survey.seen))
        for path in [path for path in survey.empty if self._is_deleted(path)]:
            del survey.roots[path], survey.empty[path]
            survey.forgotten.append(path)
        # A large file would keep everything behind it from being found for minutes.
        survey.candidates.sort(key=lambda candidate: max(candidate.size, MOST_TOKENS))
        return survey

    def _is_deleted(self, path: str) -> bool:
        """Tell whether a path that the caller did not name was deleted, not merely unmounted."""
        if self._roots[path].is_named or not is_deleted(path):
            return False
        if self._known(path):
            self._result.deleted.append(path)
            return True
        return innermost(str(Path(path).parent), self._roots) is not None

    def _is_own(self, item: Path) -> bool:
        """Tell whether a file belongs to the collection itself; a link may lead to its folder."""
        own = self._collection
        name = own.name.removesuffix(REBUILD)
        if item.name not in {f"{name}{ending}" for ending in _OWN_ENDINGS}:
            return False
        return os.path.realpath(item.parent) == os.path.realpath(own.parent)

    def _unlisted(self, item: Unreadable) -> None:
        path = absolute(item.id)
        if item.is_known and path in self._result.roots:
            self._result.empty[path] = item.reason
            return
        if not item.is_known:
            self._result.unread.add(path)
        self._on_failure(item)

    def _generated(self, folder: Path) -> None:
        # The caller may have named it too.
        if absolute(folder) not in self._roots:
            self._result.skipped.append(Skipped(str(folder), "generated"))

    def _dangling(self, item: Path, path: str) -> None:
        """Skip a broken link: there is nothing to read."""
        # Its target may be on a disk that is not mounted.
        is_kept = not is_deleted(os.path.realpath(item))
        if not is_kept and any(known.startswith(f"{path}{os.sep}") for known in self._paths()):
            # The target folder may have been moved: a broken link does not prove that its files
            # were deleted.
            is_kept = True
            self._on_failure(Unreadable(str(item), _missing(item)))
        else:
            self._result.skipped.append(Skipped(str(item), "link"))
        if is_kept:
            self._result.unread.add(path)

    def _file(self, item: Path, path: str) -> None:
        survey = self._result
        kind = record_format(item, self._fields)
        try:
            status = item.stat()
        except (FileNotFoundError, NotADirectoryError):
            if path in survey.roots:
                survey.empty[path] = _missing(item)
                return
            if item.is_symlink():
                self._dangling(item, path)
                return
            # It was deleted after its folder was listed, or its disk was unmounted: the next run
            # can tell.
            survey.unread.add(path)
            self._on_failure(Unreadable(str(item), _missing(item)))
            return
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ELOOP and path not in survey.roots:
                self._dangling(item, path)
                return
            survey.unread.add(path)
            self._on_failure(Unreadable(str(item), system_message(error)))
            return
        survey.seen.add(path)
        known = self._known(path)
        root = innermost(path, self._roots)
        folder = root.folder if root else Folder()
        stamp = stamp_of(status, kind, folder.encoding)
        is_as_known = known is not None and _is_same(known[0], stamp, folder.encoding)
        if is_as_known and known and known[0] and not known[0].endswith(_AGAIN):
            survey.unchanged += 1
            return
        survey.candidates.append(
            Candidate(
                *(item, path, kind, status.st_size, stamp, known and known[1]),
                is_as_known=is_as_known,
                is_named=path in survey.roots,
                folder=folder,
            )
        )


def stamp_of(status: os.stat_result, kind: str, encoding: str | None) -> str:
    """Return the stamp of a file: its state, told without reading it, and how it is read.

    If the file may still change without new times, the stamp makes the next run read it again.
    """
    reader = formats.READERS.get(kind, kind)
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, reader)
    said = f" {_READ_AS}{encoding}" if encoding else ""
    stamp = " ".join(map(str, state)).rstrip() + said
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    return to_read_again(stamp) if time.time_ns() - changed < _TICK_NS else stamp


def to_read_again(stamp: str) -> str:
    """Return the stamp of a file that the next run reads again, changed or not."""
    return f"{stamp.removesuffix(_AGAIN)}{_AGAIN}"


def _is_same(known: str | None, stamp: str, encoding: str | None) -> bool:
    """Tell whether a file is unchanged, as far as its stamp shows.

    A named encoding holds until another is named. Earlier versions had no stamps that make the next
    run read a file again.
    """
    if known is None:
        return True
    known, stamp = known.removesuffix(_AGAIN), stamp.removesuffix(_AGAIN)
    if encoding is None:
        known = known.partition(f" {_READ_AS}")[0]
    return known == stamp


def _missing(path: Path) -> str:
    """Describe a path that does not exist."""
    if path.is_symlink():
        return f"a link to {path.readlink()}, which is missing"
    place = "" if path.is_absolute() else f" in {Path.cwd()}"
    return f"no such file or folder{place}"
