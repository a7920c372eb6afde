"""Which files of a folder are meant: globs, and the rules of .gitignore."""

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

_LARGEST_GITIGNORE = 1 << 20
_GENERATED = ("node_modules", "__pycache__")
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
_LARGEST_TAG = 1 << 16


@dataclass(frozen=True)
class Filters:
    """Which files of a folder are meant.

    Attributes:
        include: globs, one of which a file must match; none takes every file.
        exclude: globs of files and folders to leave out.
        gitignore: whether to leave out what .gitignore files name, and folders that `is_generated`
            knows, which mostly are named there.

    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    gitignore: bool = False


@dataclass(frozen=True)
class Selection:
    """Rules for the entries of one folder; what begins with a dot or `~$` is never meant.

    Attributes:
        include: globs, one of which a file must match; none takes every file.
        exclude: globs of files and folders to leave out.
        below: path of the folder inside the root, where globs with a slash begin, with a slash at
            its end; "" for the root.
        ignored: the .gitignore files in force, outermost first, each with the path from its
            folder to this one; None looks for none.
        unread: why the folder's own .gitignore is not followed; "" where it is, or is not there.

    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    below: str = ""
    ignored: tuple[tuple[str, Rules], ...] | None = None
    unread: str = ""

    @classmethod
    def of(cls, root: Path, filters: Filters) -> Selection:
        """Return the rules in force in a root: those of the same repository above it included.

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
                selection = selection._with_rules_of(folder, f"{path}/")
        return selection._with_rules_of(root, "")

    @classmethod
    def within(cls, outer: Path, filters: Filters, path: Path) -> Selection | None:
        """Return the rules in force in a part of a root; None where the root leaves it out.

        Args:
            outer: the root.
            filters: of the root.
            path: of a folder, or of a file, for which it is the rules of its folder; it begins
                with the root's path.

        Raises:
            TextError: a .gitignore file cannot be read.

        """
        selection, folder = cls.of(outer, filters), outer
        *steps, name = path.relative_to(outer).parts
        for step in (*steps, name) if path.is_dir() else steps:
            folder /= step
            is_left_out = filters.gitignore and is_generated(folder)
            if is_left_out or not selection.takes(step, folder=True):
                return None
            selection = selection.inside(folder)
        return selection if path.is_dir() or selection.takes(name, folder=False) else None

    def inside(self, folder: Path) -> Selection:
        """Return the rules in force in a folder of this one: its own .gitignore comes on top.

        Raises:
            TextError: its .gitignore cannot be read.

        """
        step = f"{folder.name}/"
        ignored = self.ignored and tuple((f"{path}{step}", rules) for path, rules in self.ignored)
        inner = replace(self, below=f"{self.below}{step}", ignored=ignored, unread="")
        return inner._with_rules_of(folder, "")

    def _with_rules_of(self, folder: Path, path: str) -> Selection:
        if self.ignored is None:
            return self
        try:
            data = read_regular(folder / ".gitignore", _LARGEST_GITIGNORE)
        except (FileNotFoundError, IsADirectoryError):
            return self
        except OSError as error:
            if error.errno == errno.EINVAL:
                # Git, too, has no rules from what is no file.
                return replace(self, unread=str(error.strerror))
            is_closed = not os.access(folder, os.R_OK | os.X_OK)
            place = "" if is_closed else "its .gitignore: "
            raise TextError(f"{place}{error.strerror or error}") from None
        return replace(self, ignored=(*self.ignored, (path, Rules(data))))

    def takes(self, name: str, *, folder: bool) -> bool:
        """Whether a file is meant, or whether a folder may hold files that are."""
        # Word keeps a file of the second kind beside each document that is open.
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
            # The innermost file that says anything about a path decides.
            verdict = rules.verdict(_as_git_sees(f"{path}{name}"), folder=folder)
            if verdict is not None:
                return verdict
        return False


def is_generated(folder: Path) -> bool:
    """Whether programs have made what is in a folder: installed packages, or a cache.

    Virtual environments have a pyvenv.cfg (PEP 405). Cargo, pytest and others mark what can be
    made again with a CACHEDIR.TAG (https://bford.info/cachedir/).
    """
    if folder.name in _GENERATED or os.path.isfile(folder / "pyvenv.cfg"):  # noqa: PTH113
        return True
    try:
        tag = read_regular(folder / "CACHEDIR.TAG", _LARGEST_TAG)
    except OSError:
        return False
    return tag.startswith(_CACHE_SIGNATURE)


def _as_git_sees(path: str) -> bytes:
    return os.fsencode(composed(path) if sys.platform == "darwin" else path)


def composed(text: str) -> str:
    """Return a name in the form that people type; some systems write é as e and an accent."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_repository(folder: Path) -> bool:
    # Path.exists raises where a folder may not be read.
    return os.path.exists(folder / ".git")  # noqa: PTH110


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether a glob fits the name or, with a slash in the glob, the whole path.

    Composed and decomposed letters are the same.
    """
    path = composed(portable(path))
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(path if "/" in glob else name, glob)
        for glob in map(composed, map(portable, globs))
    )
