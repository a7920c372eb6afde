"""The option `-d`, and the advice for a collection that is missing or empty."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from jlocal.cli import flags
from jlocal.errors import (
    ArgumentError,
    EmptyCollectionError,
    MissingCollectionError,
    NoFoldersError,
)
from jlocal.printable import printable

_VARIABLE = "JLOCAL_DATABASE"


def _file(_context: click.Context, _option: click.Parameter, value: str | None) -> Path:
    from jlocal.collection.names import collection_path

    try:
        path = collection_path(value)
    except ArgumentError as error:
        raise click.BadParameter(flags.message(error)) from error
    if value is not None:
        _check_path(path)
    return path


def _check_path(path: Path) -> None:
    """Refuse a folder or a document that was named in place of a collection's file."""
    from jlocal.collection.names import is_not_sqlite, name_of

    if name_of(path):
        return
    if path.is_dir():
        reason = "is a folder, not a collection"
    elif is_not_sqlite(path):
        reason = "is not a collection of jlocal: it is not an SQLite file"
    else:
        return
    raise click.ClickException(printable(f"{path} {reason}; name another file{_search_in(path)}"))


def _search_in(path: Path) -> str:
    """Return the advice to search in a folder or document; "" for other paths."""
    from jlocal.inputs.documents import skip_cause

    if not path.exists() or (path.is_file() and skip_cause(path)):
        return ""
    question = f"jlocal search your question --in {shlex.quote(str(path))}"
    return f", or to search in {path}: {question}"


def _complete(
    _context: click.Context, _option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from jlocal.collection.names import collections

    names = [CompletionItem(name) for name in collections() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


database_option = click.option(
    "-d",
    "--database",
    callback=_file,
    shell_complete=_complete,
    metavar="NAME",
    envvar=_VARIABLE,
    show_envvar=True,
    help="Name of the collection, or path of its file; the collection named default if not given.",
)


def flag(path: Path) -> str:
    """Return the option that names a collection, after a space; "" for the default."""
    from jlocal.collection.names import collection_path, name_of

    if path == collection_path(os.environ.get(_VARIABLE) or None):
        return ""
    return f" -d {shlex.quote(name_of(path) or str(path))}"


def advice(error: MissingCollectionError | EmptyCollectionError | NoFoldersError) -> str:
    """Return the message for a missing or empty collection, with the command that fills it."""
    from jlocal.collection.names import collection_path, name_of

    command = f"jlocal index FOLDER{flag(error.path)}"
    if isinstance(error, NoFoldersError):
        return f"no folder is remembered yet; name one: {command}"
    if error.path == collection_path():
        return f"nothing is indexed yet; begin with: {command}"
    if isinstance(error, EmptyCollectionError):
        return f"{error.path} is empty; fill it with: {command}"
    if error.similar:
        return f"{error.reason}; did you mean {error.similar}?"
    # A folder or a document may be meant.
    also = _search_in(Path(name)) if (name := name_of(error.path)) else ""
    return f"{error.reason}; make it with: {command}{also}"
