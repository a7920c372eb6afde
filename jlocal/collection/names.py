"""Names and paths of collections: a name is a file in jlocal's own folder."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from pathlib import Path

from jlocal.errors import ArgumentError, CollectionError, MissingCollectionError
from jlocal.filenames import native, portable
from jlocal.files import open_regular, unwritable
from jlocal.inputs.selection import composed
from jlocal.locations import home, make_private

DEFAULT = "default"
_ENDING = ".db"
_PATH_ENDINGS = (".db", ".sqlite", ".sqlite3")
_LONGEST_NAME = 100
_SQLITE = b"SQLite format 3\0"

# Characters that Windows forbids in file names: a name should be valid on each machine.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*/\\\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def folder() -> Path:
    """Return the folder of the collections that have names."""
    return home() / "collections"


def collection_path(name_or_path: str | Path | None = None) -> Path:
    """Return the file of a collection, which may not exist yet; None is the default collection.

    A `Path`, and a text that holds a separator, ends in .db, .sqlite or .sqlite3, or is the name
    of an SQLite file in the current folder, is a path. Every other text is a name.

    Raises:
        ArgumentError: it cannot be a name.

    """
    if isinstance(name_or_path, Path):
        return name_or_path
    if name_or_path is None:
        return folder() / f"{DEFAULT}{_ENDING}"
    if not isinstance(name_or_path, str):
        raise ArgumentError(
            f"{name_or_path!r:.80} names no collection; pass a name or a path, as str or Path",
            argument="name_or_path",
        )
    if _is_path(name_or_path):
        return Path(name_or_path)
    return folder() / native(f"{check_name(name_or_path)}{_ENDING}")


def _is_path(text: str) -> bool:
    if any(separator in text for separator in (os.sep, os.altsep) if separator):
        return True
    return text.lower().endswith(_PATH_ENDINGS) or _is_sqlite(Path(text))


def _is_sqlite(path: Path) -> bool:
    """Tell whether a file is an SQLite file, not a note that happens to have the name."""
    try:
        with open_regular(path) as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except (OSError, ValueError):
        return False


def is_not_sqlite(path: Path) -> bool:
    """Tell whether a file can be read, is not empty, and is not an SQLite file."""
    try:
        with open_regular(path) as file:
            head = file.read(len(_SQLITE))
    except (OSError, ValueError):
        return False
    return bool(head) and head != _SQLITE


def check_name(name: str) -> str:
    """Return the name in Unicode's composed form, if it is safe as a file name on every system.

    Raises:
        ArgumentError: it is not.

    """
    name = composed(portable(name))
    reason = ""
    if not name:
        reason = "it is empty"
    elif (
        len(name) > _LONGEST_NAME or len(name.encode("utf-8", "surrogatepass")) > 2 * _LONGEST_NAME
    ):
        reason = "it is too long"
    elif name[0] in ".-~" or name[-1] in ". " or name[0] == " ":
        reason = "it begins or ends with a character that file names should not"
    elif _FORBIDDEN.search(name):
        reason = "it holds a character that file names should not"
    elif _RESERVED.fullmatch(name):
        reason = "Windows reserves it"
    if reason:
        raise ArgumentError(
            f"{name[:80]!r} cannot be the name of a collection: {reason}", argument="name_or_path"
        )
    return name


def name_of(path: Path) -> str | None:
    """Return the name by which `collection_path` finds this file; None if only a path finds it."""
    if path.suffix != _ENDING or path.absolute().parent != folder().absolute():
        return None
    with contextlib.suppress(ArgumentError):
        name = check_name(path.stem)
        # `collection_path` makes the path of the name in its composed form.
        if native(f"{name}{_ENDING}") == path.name and not _is_path(path.stem):
            return name
    return None


def collections() -> dict[str, Path]:
    """List the collections that have names: each name, in alphabetical order, and its file.

    A folder or another file that has the name of a collection's file is listed as well: opening it
    tells that it is none.

    Raises:
        CollectionError: their folder cannot be read.

    """
    try:
        files = [path for path in folder().iterdir() if path.suffix == _ENDING and path.exists()]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CollectionError(f"cannot read {folder()}: {error.strerror or error}") from error
    named = {name: path for path in files if (name := name_of(path))}
    return dict(sorted(named.items(), key=lambda item: (item[0].casefold(), item[0])))


def missing(path: Path) -> MissingCollectionError:
    """Return the error for a missing collection, with the most similar name."""
    name = name_of(path)
    if name is None:
        return MissingCollectionError(f"no such file: {path}", path)
    names = {other.casefold(): other for other in collections()}
    near = difflib.get_close_matches(name.casefold(), names, n=1)
    similar = names[near[0]] if near else None
    return MissingCollectionError(f"there is no collection named {name}", path, similar)


def make_parent_folder(path: Path) -> None:
    """Make the folder and an empty file of a named collection, readable only for their owner.

    Files that are named by a path, and their permissions, are left to the caller.

    Raises:
        CollectionError: they cannot be made.

    """
    if name_of(path) is None:
        return
    try:
        make_private(path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        reason = unwritable(error, "let JLOCAL_HOME name a folder that can be written")
        raise CollectionError(f"cannot make {path}: {reason}", path=path) from error
