"""The names of a collection's documents, which hold nothing of the disk above their folders."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from jlocal.collection.database.store import Store
from jlocal.collection.location import is_id
from jlocal.collection.search.pathfilter import path_filter
from jlocal.filenames import native, portable, rejoined

Kind = Literal["file", "text"]
_UNREADABLE = "\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class DocumentNames:
    """Names a collection's files from its folders, and finds them by these names.

    A file is named "FOLDER/PATH/FILE": the name of the folder that was indexed, and the path below
    it. Folders of the same name also show the name above them. An added text is named by its id.

    Attributes:
        roots: absolute paths of folders, each with its name, the longest path first.

    """

    roots: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, remembered: Iterable[str], paths: Iterable[str]) -> DocumentNames:
        """Name documents.

        Args:
            remembered: absolute paths of the folders and files that the collection remembers.
            paths: absolute paths of all its files.

        """
        folders = [path.rstrip(os.sep) or os.sep for path in remembered]
        others = {path for path in paths if not _is_below(path, folders)}
        if others:
            above = {os.path.dirname(path) for path in others}  # noqa: PTH120
            folders.append(_common(above))
        names = _names(folders)
        ordered = sorted(zip(folders, names, strict=True), key=lambda item: -len(item[0]))
        return cls(tuple(ordered))

    def name(self, path: str) -> str:
        """Return the name of a document, which is printable UTF-8 but may hold any sign."""
        if is_id(path):
            return clean(path)
        for root, name in self.roots:
            if path == root:
                return name
            if path.startswith(_slashed(root)):
                below = clean(portable(path[len(_slashed(root)) :]))
                return f"{name}/{below.replace(os.sep, '/')}".lstrip("/")
        return clean(portable(PurePath(path).name))

    def find(self, store: Store, name: str, kind: Kind | None) -> str | None:
        """Return the path or id of a document; None if there is none of this name."""
        if kind != "file" and is_id(name) and store.is_added(name):
            return name
        if kind == "text":
            return None
        for root, folder in self.roots:
            below = name.removeprefix(f"{folder}/") if folder else name
            if name == folder:
                path = root
            elif folder and below == name:
                continue
            else:
                path = _slashed(root) + native(below.replace("/", os.sep))
            if store.is_added(path) is False:
                return path
        if _UNREADABLE in name:
            return next((path for path in store.paths() if self.name(path) == name), None)
        return None

    def filter(self, glob: str | None, folders: Sequence[str]) -> Callable[[str], bool] | None:
        """Return the filter of a search for documents whose names match; None for all.

        Args:
            glob: as of `Collection.search`; it is compared with names, not with paths of the disk.
            folders: names of folders, such as "notes/travel"; none are given: all.

        """
        if glob is None and not folders:
            return None
        matches = path_filter(glob)
        beginnings = tuple(f"{folder.rstrip('/')}/" for folder in folders)

        def is_wanted(path: str) -> bool:
            name = self.name(path)
            return (not beginnings or f"{name}/".startswith(beginnings)) and matches(name)

        return is_wanted

    def folders(self, paths: Iterable[str], most: int) -> list[tuple[str, int]]:
        """List folders by which a search can be limited, each with its number of documents.

        They are the folders that were indexed, and those directly inside them; of more than `most`
        the largest.
        """
        sizes: Counter[str] = Counter()
        indexed = {name: name.count("/") + 1 if name else 0 for _, name in self.roots}
        for path in paths:
            parts = self.name(path).split("/")
            root = next((name for root, name in self.roots if path.startswith(_slashed(root))), "")
            for depth in (indexed.get(root, 0), indexed.get(root, 0) + 1):
                if 0 < depth < len(parts):
                    sizes["/".join(parts[:depth])] += 1
        return sorted(sizes.most_common(most), key=lambda item: item[0].casefold())


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(_slashed(folder)) for folder in folders)


def _slashed(folder: str) -> str:
    return folder if folder.endswith(os.sep) else folder + os.sep


def _common(folders: Iterable[str]) -> str:
    try:
        return os.path.commonpath(list(folders))
    except ValueError:  # on different drives
        return os.sep


def _names(folders: Sequence[str]) -> list[str]:
    """Name folders by their last parts, as many as make the names different."""
    parts = [PurePath(folder).parts for folder in folders]
    # The first part is the root of the disk.
    shown = [tail[1:] or ("",) for tail in parts]
    taken = [1] * len(folders)
    while True:
        names = ["/".join(tail[-count:]) for tail, count in zip(shown, taken, strict=True)]
        counts = Counter(names)
        longer = [
            number
            for number, name in enumerate(names)
            if counts[name] > 1 and taken[number] < len(shown[number])
        ]
        if not longer:
            return [clean(portable(name)) for name in names]
        for number in longer:
            taken[number] += 1


def clean(name: str) -> str:
    """Return a name that UTF-8 can hold: bytes that are not UTF-8 become U+FFFD."""
    return _SURROGATE.sub(_UNREADABLE, rejoined(name))
