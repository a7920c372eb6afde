"""Arguments without an option: paths, or texts that are clearly not paths."""

from __future__ import annotations

import errno
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from jlocal.inputs.documents import Unreadable

# The end of a file's name: a dot and a few letters or digits.
_ENDING = re.compile(r"\.[A-Za-z]\w{0,4}$")


def paths_and_texts(named: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Tell paths from texts.

    A text has white space in it, no file has its name, and it looks like no path: it does not end
    as a file's name does, and begins neither with a folder that exists nor as only paths begin.
    """
    paths: list[Path] = []
    texts: list[str] = []
    for item in named:
        if _is_text(item):
            texts.append(item)
        else:
            paths.append(Path(item))
    return paths, texts


def without_broken_links(
    found: Iterable[Path | Unreadable], named: Iterable[Path]
) -> tuple[list[Path | Unreadable], list[Path]]:
    """Separate broken links in folders, which are skipped, from all other inputs."""
    kept: list[Path | Unreadable] = []
    broken: list[Path] = []
    roots = set(named)
    for item in found:
        if isinstance(item, Path) and item not in roots and _is_broken_link(item):
            broken.append(item)
        else:
            kept.append(found_or_missing(item))
    return kept, broken


def _is_broken_link(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        is_missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return is_missing and path.is_symlink()
    return False


def found_or_missing(item: Path | Unreadable) -> Path | Unreadable:
    """Raise an error with advice for a missing path, before a model is loaded."""
    if isinstance(item, Unreadable) or _exists(str(item)):
        return item
    reason = "no such file or folder"
    if len(item.parts) == 1 and not _ENDING.search(item.name):
        reason += f"; to embed it as a text: -c {shlex.quote(str(item))}"
    return Unreadable(str(item), reason)


def is_piped() -> bool:
    """Tell whether standard input has data; wait for it unless it is a terminal."""
    if sys.stdin.isatty():
        return False
    peek = getattr(sys.stdin.buffer, "peek", None)
    return peek is None or bool(peek(1))


def _is_text(name: str) -> bool:
    if not re.search(r"\s", name.strip()) or _exists(name):
        return False
    if "\n" in name.strip() or len(name) > 255:
        return True
    if _ENDING.search(name) or re.match(r"[~.]{0,2}/|~|[A-Za-z]:\\", name):
        return False
    folder = re.split(r"[/\\]", name)[0]
    return folder == name or not _exists(folder)


def _exists(name: str) -> bool:
    try:
        return Path(name).exists() or Path(name).is_symlink()
    except (OSError, ValueError):
        return False
