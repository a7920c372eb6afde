"""Finding files: folders are walked, each file is listed once, and cycles of links end."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jlocal.errors import TextError
from jlocal.inputs.documents import Unreadable, system_message
from jlocal.inputs.selection import Filters, Selection, is_generated

# Device and inode of a folder.
_Folder = tuple[int, int]


def find_files(
    paths: Iterable[str | Path],
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    gitignore: bool = False,
) -> Iterator[Path | Unreadable]:
    """List files, and those in folders recursively, in sorted order.

    Entries whose names begin with a dot are left out, as are those that the globs leave out; a
    folder without files is reported. Each folder is entered once and each file is listed once, even
    if several paths and links lead there. A direct path takes precedence over links, so files
    behind links come last. Hard links are separate files.

    Args:
        paths: files and folders.
        include: globs for files inside folders, matched against the name or, with a slash in
            the glob, against the path inside the folder. A file named in `paths` is always read.
        exclude: globs for files and folders inside folders to leave out.
        gitignore: leave out files that are ignored by .gitignore files, in the folders or above
            them in the same repository, and folders of installed packages and caches.

    """
    filters = Filters(include, exclude, gitignore)
    return _Walk().all([(Path(path), filters, None) for path in paths])


def find_in_roots(
    roots: Iterable[tuple[str | Path, Filters, str | None]], on_generated: Callable[[Path], None]
) -> Iterator[Path | Unreadable]:
    """List files as `find_files` does, with separate filters for each path.

    In a folder inside another root, only the filters of the inner root apply.

    Args:
        roots: files and folders, each with its filters, and the absolute path of the folder that
            the filters are relative to; None if they are relative to the path itself.
        on_generated: called with each folder that is left out because its content is generated
            (`selection.is_generated`).

    """
    walk = _Walk(on_generated, apart=True)
    return walk.all([(Path(path), filters, outer) for path, filters, outer in roots])


@dataclass
class _Root:
    """A path that the caller passed.

    Attributes:
        path: the path as it was passed.
        filters: filters for its content.
        outer: absolute path of the folder that the filters are relative to; None for the path.
        key: identity of a folder, or of a file in a folder; None if the path does not exist.
        is_folder: whether it is a folder.
        is_linked: whether the path goes through a link.
        found: whether the folder has any files.

    """

    path: Path
    filters: Filters
    outer: str | None
    key: tuple[_Folder, str] | None
    is_folder: bool
    is_linked: bool
    found: bool = False


@dataclass(frozen=True)
class _Inner:
    """A folder, or a link that may lead to one.

    Attributes:
        root: the root that it was found in.
        path: its path.
        selection: the rules for its entries; for a link, the rules of the folder with the link.

    """

    root: _Root
    path: Path
    selection: Selection


def _inspect_root(path: Path, filters: Filters, outer: str | None) -> _Root | Unreadable:
    """Return a root, or why its path cannot be read."""
    try:
        status = path.stat()
        real = os.path.realpath(path)
        # Links in the path of the current folder are ignored.
        is_linked = real != os.path.normpath(Path(os.path.realpath("."), path))
        if stat.S_ISDIR(status.st_mode):
            key = (_folder_key(status), "")
            return _Root(path, filters, outer, key, is_folder=True, is_linked=is_linked)
        folder, name = os.path.split(real)
        key = (_folder_key(Path(folder).stat()), name)
        return _Root(path, filters, outer, key, is_folder=False, is_linked=is_linked)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return _Root(path, filters, outer, None, is_folder=False, is_linked=False)
        return Unreadable(str(path), system_message(error))


def _root_rules(root: _Root) -> Selection:
    """Return the rules for a root.

    Raises:
        TextError: a .gitignore file cannot be read.

    """
    inner = None
    if root.outer:
        inner = Selection.within(Path(root.outer), root.filters, root.path.absolute())
    return inner or Selection.of(root.path, root.filters)


def _distinct(roots: Sequence[_Root]) -> list[_Root]:
    """Keep one of several identical roots: one without links, or else the first."""
    best: dict[object, _Root] = {}
    for root in roots:
        key = root.key or root.path
        if key not in best or (best[key].is_linked and not root.is_linked):
            best[key] = root
    return [root for root in roots if root is best[root.key or root.path]]


def _folder_key(status: os.stat_result) -> _Folder:
    return status.st_dev, status.st_ino


def _is_link(entry: os.DirEntry[str]) -> bool:
    # Windows also has junctions, which Python 3.12 and later recognises.
    is_junction = getattr(entry, "is_junction", None)
    return entry.is_symlink() or bool(is_junction and is_junction())


class _Walk:
    def __init__(
        self, on_generated: Callable[[Path], None] | None = None, *, apart: bool = False
    ) -> None:
        self._on_generated = on_generated
        self._apart = apart
        self._other_roots: dict[
            _Folder, Filters
        ] = {}  # roots that no root with other filters enters
        self._entered: set[_Folder] = set()
        self._listed: dict[_Folder, set[str]] = {}
        self._links: deque[_Inner] = deque()

    def all(self, paths: Sequence[tuple[Path, Filters, str | None]]) -> Iterator[Path | Unreadable]:
        inspected = [_inspect_root(*path) for path in paths]
        yield from (root for root in inspected if isinstance(root, Unreadable))
        roots = _distinct([root for root in inspected if isinstance(root, _Root)])
        for root in roots:
            if root.key and not root.is_folder:
                self._is_new(*root.key)
        if self._apart:
            folders = [root for root in roots if root.is_folder]
            self._other_roots = {root.key[0]: root.filters for root in folders if root.key}
        linked = [root for root in roots if root.is_folder and root.is_linked]
        for root in roots:
            if not root.is_folder:
                yield root.path
            elif not root.is_linked:
                # A root inside another is walked again: its globs are relative to it.
                yield from self._root(root, set())
        for root in linked:
            yield from self._root(root, self._entered)
        yield from self._follow()
        for root in roots:
            if root.is_folder and not root.found:
                has_globs = root.filters.include or root.filters.exclude
                reason = "no file in it matches" if has_globs else "no file in it to read"
                yield Unreadable(str(root.path), reason, is_known=True)

    def _root(self, root: _Root, entered: set[_Folder]) -> Iterator[Path | Unreadable]:
        if root.key and root.key[0] in entered:
            root.found = True
            return
        try:
            selection = _root_rules(root)
        except TextError as error:
            root.found = True
            yield Unreadable(str(root.path), error.reason)
            return
        yield from self._walk(_Inner(root, root.path, selection), entered)

    def _follow(self) -> Iterator[Path | Unreadable]:
        while self._links:
            link = self._links.popleft()
            try:
                status = link.path.stat()
                if not stat.S_ISDIR(status.st_mode):
                    real = Path(os.path.realpath(link.path))
                    if self._is_new(_folder_key(real.parent.stat()), real.name):
                        yield link.path
                    continue
            except OSError:
                yield link.path  # The reader reports why it cannot be read.
                continue
            if _folder_key(status) in self._entered:
                continue
            for inner in self._inside(link, link.path):
                if isinstance(inner, Unreadable):
                    yield inner
                else:
                    yield from self._walk(inner, self._entered)

    def _walk(self, start: _Inner, entered: set[_Folder]) -> Iterator[Path | Unreadable]:
        """List the files of a folder and its subfolders; links are collected for later."""
        # Not recursive: folders may be nested deeper than Python's stack.
        open_folders = [self._entries(start, entered)]
        while open_folders:
            item = next(open_folders[-1], None)
            if item is None:
                open_folders.pop()
            elif isinstance(item, _Inner):
                open_folders.append(self._entries(item, entered))
            else:
                yield item

    def _entries(self, here: _Inner, entered: set[_Folder]) -> Iterator[Path | Unreadable | _Inner]:
        root, folder, selection = here.root, here.path, here.selection
        try:
            key = _folder_key(folder.stat())
            if self._other_roots.get(key, root.filters) != root.filters:
                root.found = True
                return
            if key in entered:
                return
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            root.found = True
            yield Unreadable(str(folder), system_message(error))
            return
        entered.add(key)
        self._entered.add(key)
        if selection.unread:
            reason = f"{selection.unread}, and its rules are not followed"
            yield Unreadable(str(folder / ".gitignore"), reason)
        for entry in entries:
            path = folder / entry.name
            is_link, is_folder = _is_link(entry), os.path.isdir(path)  # noqa: PTH112 - no error
            is_included = selection.includes(entry.name, folder=is_folder)
            if not is_included or (is_folder and self._is_left_out(root, path)):
                continue
            root.found = root.found or is_link or not is_folder
            if is_link:
                self._links.append(_Inner(root, path, selection))
            elif is_folder:
                yield from self._inside(here, path)
            elif self._is_new(key, entry.name):
                yield path

    def _is_left_out(self, root: _Root, folder: Path) -> bool:
        """Return whether a folder is left out because its content is generated."""
        if not (root.filters.gitignore and is_generated(folder)):
            return False
        root.found = True
        if self._on_generated:
            self._on_generated(folder)
        return True

    def _inside(self, here: _Inner, folder: Path) -> Iterator[_Inner | Unreadable]:
        try:
            yield _Inner(here.root, folder, here.selection.inside(folder))
        except TextError as error:
            here.root.found = True
            yield Unreadable(str(folder), error.reason)

    def _is_new(self, folder: _Folder, name: str) -> bool:
        listed = self._listed.setdefault(folder, set())
        if name in listed:
            return False
        listed.add(name)
        return True
