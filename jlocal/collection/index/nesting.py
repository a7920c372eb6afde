"""Decide which remembered folders are only a part of another remembered folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.collection.index.large import MOST_TOKENS
from jlocal.collection.index.paths import absolute, folders_above
from jlocal.errors import TextError
from jlocal.inputs.selection import Selection

if TYPE_CHECKING:
    from jlocal.collection.index.folders import Folder


def owners(folders: Mapping[str, Folder], unsaid: Collection[str]) -> dict[str, str]:
    """Find the folders and files that are a part of another folder with the same options.

    A path that is missing, empty, a mount point or reached through a link is not a part: it may be
    unavailable while the outer folder is available. Neither is a file that the outer folder would
    skip as too large.

    Args:
        folders: all remembered or named folders, by absolute path.
        unsaid: folders without options of their own, which take the options of an outer folder.

    Returns:
        The absolute path of each part, with the path of its outer folder.

    """
    found: dict[str, str] = {}
    for path in sorted(folders, key=len):
        above = next((folder for folder in folders_above(path) if folder in folders), None)
        if above is None:
            continue
        outer = found.get(above, above)
        is_same = path in unsaid or _are_same(folders[path], folders[outer])
        if is_same and _is_whole(path, outer) and _takes(outer, folders[outer], path):
            found[path] = outer
    return found


def known_spelling(path: str | Path, remembered: Iterable[str]) -> str:
    """Return the absolute path under which a collection would know a file or folder.

    A link may lead into a remembered folder, and its files must not become documents twice.
    """
    named, known = absolute(path), set(remembered)
    if named in known or any(above in known for above in folders_above(named)):
        return named
    real = os.path.realpath(named)
    around = {real, *folders_above(real)}
    for folder in known:
        above = os.path.realpath(folder)
        if above in around:
            return os.path.normpath(Path(folder, os.path.relpath(real, above)))
    return named


def _are_same(inner: Folder, outer: Folder) -> bool:
    """Tell whether the options of two folders choose the same files in the inner folder."""
    # A glob with a slash is relative to its folder.
    return inner == outer and not any("/" in glob for glob in (*inner.include, *inner.exclude))


def _is_whole(path: str, outer: str) -> bool:
    try:
        inside = Path(os.path.realpath(outer), os.path.relpath(path, outer))
        if os.path.realpath(path) != str(inside) or os.path.ismount(path):
            return False
        if not Path(path).is_dir():
            return Path(path).stat().st_size <= MOST_TOKENS
        with os.scandir(path) as entries:
            return any(entries)
    except (OSError, ValueError):
        return False


def _takes(outer: str, folder: Folder, path: str) -> bool:
    try:
        return Selection.within(Path(outer), folder.filters, Path(path)) is not None
    except TextError:
        return False
