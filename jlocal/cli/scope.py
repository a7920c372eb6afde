"""The value of `--in`: a folder, a file, or the files and folders that a glob matches."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
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
        path = os.path.abspath(Path(text).expanduser())  # noqa: PTH100
        if os.path.exists(path):  # noqa: PTH110
            return cls(path)
        parts = Path(path).parts
        plain = next((n for n, part in enumerate(parts) if _WILDCARDS.search(part)), len(parts))
        root = Path(*parts[:plain])
        if plain == len(parts) or not root.is_dir():
            raise click.UsageError(f"--in names no file or folder: {printable(text)}")
        return cls(str(root), "/".join(parts[plain:]))

    @property
    def name(self) -> str:
        """The name of the scope in messages."""
        return os.path.join(self.root, self.glob) if self.glob else self.root  # noqa: PTH118

    def paths(self) -> list[str]:
        """List the folders and files in the scope."""
        if not self.glob:
            return [self.root]
        paths = sorted(map(str, Path(self.root).glob(self.glob)))
        return [path for path in paths if not Path(path).name.startswith(".")]

    def holds(self, path: str) -> bool:
        """Tell whether a file with this absolute path is in the scope."""
        if not _is_in(path, self.root) or not self.glob:
            return _is_in(path, self.root)
        below = path[len(self.root) :].replace(os.sep, "/").lstrip("/")
        return bool(_expression(composed(portable(self.glob))).match(composed(portable(below))))

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


def _expression(pattern: str) -> re.Pattern[str]:
    """Translate a glob as shells understand it: `*` stays in a folder, `**` does not."""
    parts = re.split(r"(\*\*/|\*+|\?|\[!?\]?[^\]]*\])", pattern)
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    translated = ""
    for part in parts:
        if part[:1] == "[" and part[-1:] == "]" and len(part) > 2:
            inside = part[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            translated += f"[{'^' + inside[1:] if inside[0] == '!' else inside}]"
        else:
            translated += signs.get(part, re.escape(part))
    # A glob may match a folder.
    try:
        return re.compile(f"(?:{translated})(?:/.*)?\\Z", re.DOTALL)
    except re.error:  # such as [z-a]
        return re.compile(f"{re.escape(pattern)}(?:/.*)?\\Z")
