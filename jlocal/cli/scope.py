"""The value of `--in`: a folder, a file, or the files and folders that a glob matches."""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from jlocal.filenames import portable
from jlocal.inputs.selection import composed
from jlocal.printable import printable

_WILDCARDS = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Scope:
    """A part of the disk.

    Attributes:
        root: absolute path of a folder or file.
        glob: of paths below the root, with slashes; "" means everything there.

    """

    root: str
    glob: str = ""

    @classmethod
    def of(cls, text: str) -> Scope:
        """Find the files and folders that a text names.

        Raises:
            click.UsageError: there is nothing of this name.

        """
        parts = Path(os.path.abspath(Path(text).expanduser())).parts  # noqa: PTH100
        path = _existing(parts)
        if path is not None:
            return cls(path)
        plain = next((n for n, part in enumerate(parts) if _WILDCARDS.search(part)), len(parts))
        root = _existing(parts[:plain])
        if plain == len(parts) or root is None or not os.path.isdir(root):  # noqa: PTH112
            raise click.UsageError(f"--in names no file or folder: {printable(text)}")
        return cls(root, "/".join(parts[plain:]))

    @property
    def name(self) -> str:
        """The name of the scope in messages."""
        return os.path.join(self.root, self.glob) if self.glob else self.root  # noqa: PTH118

    def paths(self) -> list[str]:
        """List the folders and files in the scope."""
        glob = _Glob(self.glob)
        if not self.glob or glob.is_complete(glob.start):
            return [self.root]
        found, entered = [], set()
        to_enter = [(self.root, glob.start)]
        while to_enter:
            folder, state = to_enter.pop()
            try:
                status = os.stat(folder)  # noqa: PTH116
                # A folder that links lead to again is entered again only in another state.
                if (status.st_dev, status.st_ino, state) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino, state))
                with os.scandir(folder) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                after = glob.after(state, entry.name, is_link=entry.is_symlink())
                if glob.is_complete(after):
                    found.append(entry.path)
                elif after and os.path.isdir(entry.path):  # noqa: PTH112 - no error
                    to_enter.append((entry.path, after))
        return sorted(found)

    def holds(self, path: str) -> bool:
        """Tell whether a file with this absolute path is in the scope."""
        if not _is_in(path, self.root) or not self.glob:
            return _is_in(path, self.root)
        glob = _Glob(self.glob)
        state = glob.start
        for name in path[len(self.root) :].replace(os.sep, "/").lstrip("/").split("/"):
            state = glob.after(state, name)
            if glob.is_complete(state):
                return True
        return False

    def among(self, folders: Iterable[str]) -> Scope | None:
        """Return the same scope by the path that a collection knows; None where it does not.

        Args:
            folders: absolute paths that the collection keeps up to date.

        """
        for folder in folders:
            if _is_in(self.root, folder):
                return self
            # The same folder may be reached by a link.
            real, above = os.path.realpath(self.root), os.path.realpath(folder)
            if _is_in(real, above):
                return Scope(str(Path(folder, os.path.relpath(real, above))), self.glob)
        return None


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _existing(parts: Sequence[str]) -> str | None:
    """Find a path; names that differ only in how their letters are composed are equal."""
    path = parts[0]
    for part in parts[1:]:
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        inner = (os.path.join(path, form) for form in forms)  # noqa: PTH118
        found = next(filter(os.path.exists, inner), None)
        if found is None:
            return None
        path = found
    return path


class _Glob:
    """A glob of paths: `*` stays in a folder, and a step `**` matches any number of folders.

    A state is the set of steps that may come next, so that no glob takes long.
    """

    def __init__(self, glob: str) -> None:
        self._steps = composed(portable(glob)).split("/")
        self.start = self._open({0})

    def is_complete(self, state: frozenset[int]) -> bool:
        """Tell whether the path that led to this state matches."""
        return len(self._steps) in state

    def after(self, state: frozenset[int], name: str, *, is_link: bool = False) -> frozenset[int]:
        """Return the state below a folder, or at a file; as in shells, `**` follows no link."""
        name, following = composed(portable(name)), set()
        for number in state - {len(self._steps)}:
            step = self._steps[number]
            if name.startswith(".") and not step.startswith("."):
                continue
            if step == "**" and not is_link:
                following.add(number)
            elif fnmatch.fnmatchcase(name, step):
                following.add(number + 1)
        return self._open(following)

    def _open(self, state: set[int]) -> frozenset[int]:
        """Add the states that are reached because `**` also matches no folder."""
        for number, step in enumerate(self._steps):
            if number in state and step == "**":
                state.add(number + 1)
        return frozenset(state)
