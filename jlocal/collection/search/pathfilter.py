"""Path filters: limit a search to documents by their paths."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from jlocal.arguments import wrong
from jlocal.collection.location import is_id
from jlocal.errors import CollectionError
from jlocal.filenames import portable
from jlocal.inputs.selection import composed

PathFilter = str | Path | Callable[[str], bool]


def path_filter(chosen: PathFilter | None) -> Callable[[str], bool]:
    """Return the function that tells whether a path is in the filter.

    A glob without a slash is matched against the names of the file and of the folders above it:
    "travel" matches everything below a folder of this name, "*.md" files with this extension. A
    glob with a slash is matched against the end of the path, and of each folder above it. A glob in
    lower case also matches upper case. Composed and decomposed letters are equal.

    Args:
        chosen: a glob, or a function of a path to bool; None matches every path.

    """
    if chosen is None:
        return lambda _: True
    if callable(chosen):
        return lambda path: bool(chosen(path))
    if not isinstance(chosen, (str, Path)):
        raise wrong("path", chosen, "it is a glob, or a function of a path")
    glob = _slashed(_typed(str(chosen)))
    if glob.startswith("~/"):
        glob = _slashed(portable(os.path.expanduser("~"))) + glob[1:]  # noqa: PTH111
    glob = re.sub(r"^(\./+)+", "", glob)
    ignores_case = glob == glob.lower()
    if "/" not in glob.rstrip("/"):
        name = _compiled("*" if glob == "/" else glob.rstrip("/"), ignores_case)
        only_folders = glob.endswith("/")
        return lambda path: _has_name(path, name, only_folders=only_folders)
    ends = (glob.rstrip("/"), f"{glob.rstrip('/')}/*") if not glob.endswith("/") else (f"{glob}*",)
    patterns = [_compiled(g, ignores_case) for end in ends for g in (end, f"*/{end}")]
    return lambda path: any(pattern(_slashed(_text(path))) for pattern in patterns)


@contextlib.contextmanager
def chosen_paths(chosen: PathFilter | None) -> Iterator[Callable[[str], bool] | None]:
    """Give the path filter to a search; None for all paths.

    An exception of the caller's function is raised again, where SQLite would only report that there
    was one.
    """
    if chosen is None:
        yield None
        return
    raised: list[Exception] = []
    matches = path_filter(chosen)

    def asked(path: str) -> bool:
        try:
            return matches(path)
        except Exception as error:
            raised.append(error)
            raise

    try:
        yield asked
    except CollectionError:
        if raised:
            raise raised[0] from None
        raise


def both(chosen: Callable[[str], bool] | None, paths: Container[str]) -> Callable[[str], bool]:
    """Return the function that tells whether a path is in the filter and among these paths."""
    return lambda path: path in paths and (chosen is None or chosen(path))


def _has_name(path: str, name: Callable[[str], object], *, only_folders: bool) -> bool:
    *folders, file = _slashed(_text(path)).split("/")
    return any(name(part) for part in (folders if only_folders else [*folders, file]) if part)


def _text(path: str) -> str:
    return path if is_id(path) else portable(path)


def _typed(glob: str) -> str:
    """Return a glob as text: bytes that are UTF-8 as such, others as letters of the locale."""
    name = portable(glob)
    try:
        name.encode()
    except UnicodeEncodeError:
        return glob
    return name


def _slashed(path: str) -> str:
    return composed(path if os.sep == "/" else path.replace(os.sep, "/"))


def _compiled(glob: str, ignores_case: bool) -> Callable[[str], object]:
    flags = re.IGNORECASE if ignores_case else 0
    return re.compile(fnmatch.translate(glob), flags).match
