"""The folders that a collection remembers, for updates without paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from jlocal.collection.database.connect import translated_errors
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import DamagedError
from jlocal.collection.index.nesting import known_spelling, owners
from jlocal.collection.index.paths import absolute, folders_above
from jlocal.errors import ArgumentError
from jlocal.filenames import native, portable
from jlocal.inputs.encodings import python_name
from jlocal.inputs.selection import Filters

# Options that hold names of files, and are written as the same text in every locale.
_GLOBS = ("include", "exclude")


@dataclass(frozen=True)
class Folder:
    """How the files of a folder are chosen and read; a single file can be remembered too.

    Attributes:
        include: globs, one of which a file must match; none takes every file.
        exclude: globs of files and folders to leave out.
        gitignore: whether to leave out files that .gitignore files exclude.
        large: whether to index files with any number of tokens.
        encoding: of texts that are not UTF-8; None guesses it.

    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gitignore: bool = True
    large: bool = False
    encoding: str | None = None

    @property
    def filters(self) -> Filters:
        """Return the filters that choose its files."""
        return Filters(self.include, self.exclude, self.gitignore)

    def to_options(self) -> dict[str, Any]:
        """Return the folder as JSON values."""
        globs = {name: tuple(map(portable, getattr(self, name))) for name in _GLOBS}
        return asdict(self) | globs

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Folder:
        """Read JSON values.

        Raises:
            DamagedError: they are not the options of a folder.

        """
        values = dict(options)
        for name in _GLOBS:
            globs = values.get(name)
            if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
                raise DamagedError("the options of a folder are none")
            values[name] = tuple(map(native, globs))
        flags = [values.get("gitignore"), values.get("large")]
        encoding = values.get("encoding")
        if set(values) != {field.name for field in fields(cls)} or set(map(type, flags)) != {bool}:
            raise DamagedError("the options of a folder are none")
        try:
            values["encoding"] = None if encoding is None else python_name(encoding)
        except (ArgumentError, TypeError, AttributeError) as error:
            raise DamagedError("the encoding of a folder is none") from error
        return cls(**values)


@dataclass(frozen=True)
class Change:
    """The options of a call for the folders that it names; None keeps the remembered option.

    Globs and the use of .gitignore files are replaced together, so that the last call's choice
    holds.
    """

    include: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    gitignore: bool | None = None
    large: bool | None = None
    encoding: str | None = None

    def of(self, folder: Folder | None) -> Folder:
        """Return the changed folder; None stands for a new folder."""
        folder = folder or Folder()
        if (self.include, self.exclude, self.gitignore) != (None, None, None):
            gitignore = True if self.gitignore is None else self.gitignore
            globs = tuple(self.include or ()), tuple(self.exclude or ())
            folder = replace(folder, include=globs[0], exclude=globs[1], gitignore=gitignore)
        if self.large is not None:
            folder = replace(folder, large=self.large)
        return folder if self.encoding is None else replace(folder, encoding=self.encoding)


@dataclass(frozen=True)
class Root:
    """A path that a run searches.

    Attributes:
        name: its name in reports.
        folder: how its files are chosen and read.
        is_named: whether the caller named it; otherwise the collection remembers it.
        outer: absolute path of the remembered folder that it is a part of, so that it is not
            remembered by itself; None if it is a part of none.

    """

    name: str
    folder: Folder
    is_named: bool = False
    outer: str | None = None


@dataclass(frozen=True)
class Choice:
    """The files to index; see `walk.find_in_roots`.

    Attributes:
        roots: by absolute path.
        prune: also remove the documents of a path that is missing or has no file left.
        absorbed: remembered paths that become a part of another remembered path, each with the
            other.

    """

    roots: Mapping[str, Root]
    prune: bool = False
    absorbed: Mapping[str, str] = field(default_factory=dict)


def choose(
    paths: Sequence[str | Path],
    change: Change,
    remembered: Mapping[str, Folder],
    *,
    everything: bool = False,
    prune: bool = False,
) -> Choice:
    """Return the paths that a run searches: the named paths, and the remembered paths in them.

    Args:
        paths: files and folders.
        change: the options for them.
        remembered: all folders that the collection remembers.
        everything: also search all remembered folders.
        prune: as of `Choice`.

    Raises:
        CollectionError: the working directory was deleted.

    """
    named = {known_spelling(path, remembered): str(path) for path in paths}
    folders = dict(remembered) | {path: change.of(remembered.get(path)) for path in named}
    unsaid = named.keys() - remembered.keys() if change == Change() else set()
    parts = owners(folders, unsaid)
    locations = {os.path.realpath(path) for path in named}
    looked_at = named.keys() | {
        path
        for path in remembered
        if everything or any(above in locations for above in folders_above(os.path.realpath(path)))
    }
    roots = {}
    for path in (*named, *(path for path in remembered if path not in named)):
        outer = parts.get(path)
        if path in looked_at and (path in named or outer is None):
            name = named.get(path, path)
            name = name if absolute(name) == path else path
            roots[path] = Root(name, folders[outer or path], path in named, outer)
    absorbed = {path: parts[path] for path in looked_at & parts.keys() & remembered.keys()}
    return Choice(roots, prune, absorbed)


def roots_of_all(remembered: Mapping[str, Folder]) -> dict[str, Root]:
    """Return the roots of a run that brings all remembered folders up to date."""
    return {path: Root(path, folder) for path, folder in remembered.items()}


def remembered_by(store: Store) -> dict[str, Folder]:
    """Read the folders that a collection remembers, by absolute path.

    Raises:
        CollectionError: their options are damaged.

    """
    with translated_errors(store.path):
        return {path: Folder.of(options) for path, options in store.folders().items()}


def innermost(path: str, roots: Mapping[str, Root]) -> Root | None:
    """Return the root that governs a file: the file itself, or the nearest root above it."""
    if path in roots:
        return roots[path]
    return next((roots[above] for above in folders_above(path) if above in roots), None)


def is_deleted(path: str) -> bool:
    """Tell whether a path is missing but its folder exists: it was deleted, not unmounted."""
    if os.path.lexists(path):
        return False
    try:
        with os.scandir(Path(path).parent) as entries:
            return any(entries)
    except OSError:
        return False
