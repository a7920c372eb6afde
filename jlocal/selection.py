"""Which files of a folder are meant: globs, and the rules of .gitignore."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


@dataclass(frozen=True)
class Selection:
    """Rules for the entries below a folder; what begins with a dot is never meant.

    Attributes:
        root: the folder that globs with a slash begin at.
        include: globs, one of which a file must match; none takes every file.
        exclude: globs of files and folders to leave out.
        ignored: the .gitignore files in force, outermost first; None looks for none.

    """

    root: Path
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    ignored: tuple[tuple[Path, GitIgnoreSpec], ...] | None = None

    def with_gitignore(self) -> Selection:
        """Follow .gitignore files, those of the same repository above the root included."""
        above = self.root.absolute().parents
        repository = next((at for at, folder in enumerate(above) if (folder / ".git").exists()), -1)
        selection = replace(self, ignored=())
        if not (self.root / ".git").exists():
            for folder in reversed(above[: repository + 1]):
                selection = selection.inside(folder)
        return selection

    def inside(self, folder: Path) -> Selection:
        """Return the rules in force in a folder: its own .gitignore comes on top.

        Raises:
            OSError: its .gitignore cannot be read.

        """
        if self.ignored is None:
            return self
        try:
            data = (folder / ".gitignore").read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return self
        from pathspec import GitIgnoreSpec

        spec = GitIgnoreSpec.from_lines(os.fsdecode(data).splitlines())
        return replace(self, ignored=(*self.ignored, (folder, spec)))

    def takes(self, path: Path, *, folder: bool) -> bool:
        """Whether a file is meant, or whether a folder may hold files that are."""
        if path.name.startswith("."):
            return False
        relative = path.relative_to(self.root).as_posix()
        if self.exclude and matches(relative, self.exclude):
            return False
        if not folder and self.include and not matches(relative, self.include):
            return False
        return not self._ignores(path, folder)

    def _ignores(self, path: Path, folder: bool) -> bool:
        for above, spec in reversed(self.ignored or ()):
            relative = Path(os.path.relpath(path, above)).as_posix()
            # The innermost file that says anything about a path decides.
            verdict = spec.check_file(f"{relative}/" if folder else relative).include
            if verdict is not None:
                return verdict
        return False


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether a glob fits the name or, with a slash in the glob, the whole path."""
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(path if "/" in glob else name, glob) for glob in globs)
