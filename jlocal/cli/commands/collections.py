"""`jlocal collections`: the collections that have names."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from jlocal.cli import flags, output
from jlocal.cli.group import Group
from jlocal.cli.options import confirm, offline_option, size_text
from jlocal.cli.output_options import json_option, quiet_option, yes_option
from jlocal.errors import EmptyCollectionError, JlocalError
from jlocal.filenames import native, portable
from jlocal.printable import printable
from jlocal.progress import log

# As many names as fit in a message.
_NAMED = 20
_HEADINGS = ("NAME", "DOCUMENTS", "FOLDERS", "MODEL", "SIZE")


@dataclass(frozen=True)
class _Row:
    name: str
    path: Path
    size: int
    documents: int = 0
    folders: tuple[str, ...] = ()
    model: str | None = None
    error: str = ""


@click.group("collections", cls=Group, invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the collections that have names, and remove them.

    `jlocal index FOLDER -d NAME` makes one; without -d it is named default. Collections that were
    named by a path are not listed.

    \b
    jlocal collections
    jlocal collections rm work
    """
    if context.invoked_subcommand is None:
        _list(as_json=as_json)


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the collections that have names, as `jlocal collections` does.

    \b
    jlocal collections list --json
    """
    _list(as_json=as_json)


@command.command("path")
@click.argument("name", required=False)
def path_command(name: str | None) -> None:
    """Print the path of a collection, or of the folder of all.

    \b
    jlocal collections path
    jlocal collections path work
    """
    from jlocal.collection.names import check_name, collection_path, folder

    output.path(folder() if name is None else collection_path(native(check_name(name))))


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@yes_option("Remove")
@quiet_option("notes")
def rm_command(names: tuple[str, ...], yes: bool, quiet: bool) -> None:
    """Remove collections by name; the files that were indexed stay.

    \b
    jlocal collections rm work
    """
    from jlocal.collection.delete import delete
    from jlocal.collection.names import check_name, collections

    known = collections()
    paths = {}
    for name in names:
        if name not in known:
            raise _unknown(check_name(name), list(known))
        paths[name] = known[name]
        if not paths[name].is_file():
            raise click.ClickException(
                f"{printable(str(paths[name]))} is not a file, so it is no collection; move it away"
            )
    if not yes:
        for row in map(_row, paths, paths.values()):
            log(f"{row.name}  {row.documents:,} documents  {size_text(row.size)}  {row.path}")
        confirm("Remove?", "there is no terminal to ask on; to remove without asking, add --yes")
    for name, path in paths.items():
        delete(path)
        if not quiet:
            log(f"Removed {name}")


def _unknown(name: str, known: Sequence[str]) -> click.ClickException:
    from jlocal.cli.suggest import nearest

    message = f"there is no collection named {name}"
    if meant := nearest(name, known):
        message += f"; did you mean {meant}?"
    elif known:
        more = f" and {len(known) - _NAMED:,} more" if len(known) > _NAMED else ""
        message += f"; the names are: {', '.join(known[:_NAMED])}{more}"
    else:
        message += "; no collection has a name yet"
    return click.ClickException(printable(message))


for _part in command.commands.values():
    _part.params.append(offline_option())


def _list(*, as_json: bool) -> None:
    from jlocal.collection.names import collections

    rows = [_row(name, path) for name, path in collections().items()]
    if as_json:
        output.data(
            [
                {
                    "name": row.name, "path": portable(str(row.path)), "size": row.size,
                    "documents": row.documents, "folders": row.folders, "model": row.model,
                    "error": row.error or None,
                }
                for row in rows
            ],
            indent=2,
        )  # fmt: skip
        return
    if not rows:
        log("No collection has a name yet; jlocal index FOLDER makes one.")
        return
    cells = [_HEADINGS, *(tuple(printable(cell) for cell in _cells(row)) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        output.line(line.rstrip())
    for name in (row.name for row in rows if row.error):
        log(f"Note: {name} cannot be read; jlocal status -d {name} says why.")


def _cells(row: _Row) -> tuple[str, ...]:
    if row.error:
        return row.name, "unreadable", "", "", size_text(row.size)
    folders = str(len(row.folders))
    return row.name, f"{row.documents:,}", folders, row.model or "-", size_text(row.size)


def _row(name: str, path: Path) -> _Row:
    from jlocal.collection.database.store import Store
    from jlocal.collection.index.status import size_of

    size = size_of(path)
    try:
        with contextlib.closing(Store(path)) as store:
            config = store.config()
            return _Row(
                name, path, size, store.count_documents(), tuple(store.folders()),
                config.model if config else None,
            )  # fmt: skip
    except EmptyCollectionError:
        return _Row(name, path, size)
    except JlocalError as error:
        return _Row(name, path, size, error=flags.message(error))
