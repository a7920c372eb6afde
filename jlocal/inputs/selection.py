"""Selecting the files of a folder by globs and the rules of .gitignore."""

from __future__ import annotations

import errno
import fnmatch
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jlocal.errors import TextError
from jlocal.filenames import portable
from jlocal.files import read_regular
from jlocal.inputs.gitignore import Rules

_MAX_GITIGNORE = 1 << 20
_GENERATED = ("node_modules", "__pycache__")
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
_MAX_TAG = 1 << 16


@dataclass(frozen=True)
class Filters:
    """The filters for the files of a folder.

    Attributes:
        include: globs, one of which a file must match; without globs, every file is included.
        exclude: globs of files and folders to leave out.
        gitignore: whether to leave out ignored files, and generated folders (`is_generated`),
            which most .gitignore files name.

    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    gitignore: bool = False


@dataclass(frozen=True)
class Selection:
    """The rules for the entries of one folder; names with a leading dot or `~$` never match.

    Attributes:
        include: globs, one of which a file must match; without globs, every file is included.
        exclude: globs of files and folders to leave out.
        below: path of the folder relative to the root, against which globs with a slash match,
            with a slash at its end; "" for the root.
        ignored: the applicable .gitignore files, outermost first, each with the path from its
            folder to this one; None disables them.
        unread: why the folder's own .gitignore cannot be read; "" if it was read or is missing.

    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    below: str = ""
    ignored: tuple[tuple[str, Rules], ...] | None = None
    unread: str = ""

    @classmethod
    def of(cls, root: Path, filters: Filters) -> Selection:
        """Return the rules for a root, including those above it in the same repository.

        Raises:
            TextError: a .gitignore file cannot be read.

        """
        ignored = () if filters.gitignore else None
        selection = cls(filters.include, filters.exclude, ignored=ignored)
        if filters.gitignore and not _is_repository(root):
            above = root.absolute().parents
            repository = next((at for at, folder in enumerate(above) if _is_repository(folder)), -1)
            for folder in reversed(above[: repository + 1]):
                path = Path(os.path.relpath(root, folder)).as_posix()
                selection = selection._with_gitignore(folder, f"{path}/")
        return selection._with_gitignore(root, "")

    @classmethod
    def within(cls, outer: Path, filters: Filters, path: Path) -> Selection | None:
        """Return the rules for a part of a root; None if the root leaves it out.

        Args:
            outer: the root.
            filters: filters of the root.
            path: a folder below the root, or a file, for which the rules are those of its folder.

        Raises:
            TextError: a .gitignore file cannot be read.

        """
        selection, folder = cls.of(outer, filters), outer
        *steps, name = path.relative_to(outer).parts
        for step in (*steps, name) if path.is_dir() else steps:
            folder /= step
            is_left_out = filters.gitignore and is_generated(folder)
            if is_left_out or not selection.includes(step, folder=True):
                return None
            selection = selection.inside(folder)
        return selection if path.is_dir() or selection.includes(name, folder=False) else None

    def inside(self, folder: Path) -> Selection:
        """Return the rules for a subfolder, which adds its own .gitignore.

        Raises:
            TextError: its .gitignore cannot be read.

        """
        step = f"{folder.name}/"
        ignored = self.ignored and tuple((f"{path}{step}", rules) for path, rules in self.ignored)
        inner = replace(self, below=f"{self.below}{step}", ignored=ignored, unread="")
        return inner._with_gitignore(folder, "")

    def _with_gitignore(self, folder: Path, path: str) -> Selection:
        if self.ignored is None:
            return self
        try:
            data = read_regular(folder / ".gitignore", _MAX_GITIGNORE)
        except (FileNotFoundError, IsADirectoryError):
            return self
        except OSError as error:
            if error.errno == errno.EINVAL:
                # Git, too, reads rules only from regular files.
                return replace(self, unread=str(error.strerror))
            is_closed = not os.access(folder, os.R_OK | os.X_OK)
            place = "" if is_closed else "its .gitignore: "
            raise TextError(f"{place}{error.strerror or error}") from None
        return replace(self, ignored=(*self.ignored, (path, Rules(data))))

    def includes(self, name: str, *, folder: bool) -> bool:
        """Return whether a file is included, or a folder may hold included files."""
        # Word keeps a file named `~$…` beside each open document.
        if name.startswith((".", "~$")):
            return False
        path = f"{self.below}{name}"
        if self.exclude and matches(path, self.exclude):
            return False
        if not folder and self.include and not matches(path, self.include):
            return False
        return not self._ignores(name, folder)

    def _ignores(self, name: str, folder: bool) -> bool:
        for path, rules in reversed(self.ignored or ()):
            # The innermost .gitignore file with a matching rule decides.
            is_ignored = rules.is_ignored(_git_path(f"{path}{name}"), folder=folder)
            if is_ignored is not None:
                return is_ignored
        return False


def is_generated(folder: Path) -> bool:
    """Return whether the content of a folder is generated: installed packages, or a cache.

    Virtual environments have a pyvenv.cfg (PEP 405). Cargo, pytest and other programs mark their
    caches with a CACHEDIR.TAG (https://bford.info/cachedir/).
    """
    if folder.name in _GENERATED or os.path.isfile(folder / "pyvenv.cfg"):  # noqa: PTH113
        return True
    try:
        tag = read_regular(folder / "CACHEDIR.TAG", _MAX_TAG)
    except OSError:
        return False
    return tag.startswith(_CACHE_SIGNATURE)


def _git_path(path: str) -> bytes:
    return os.fsencode(composed(path) if sys.platform == "darwin" else path)


def composed(text: str) -> str:
    """Return a name in Unicode's composed form; some systems write é as e and an accent."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_repository(folder: Path) -> bool:
    # Path.exists raises where a folder may not be read.
    return os.path.exists(folder / ".git")  # noqa: PTH110


def matches(path: str, globs: Sequence[str]) -> bool:
    """Return whether a glob matches the name or, for a glob with a slash, the whole path.

    Composed and decomposed letters match each other.
    """
    path = composed(portable(path))
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(path if "/" in glob else name, glob)
        for glob in map(composed, map(portable, globs))
    )
