"""`jlocal status`: compare a collection with its folders."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import output
from jlocal.cli.database import database_option, flag
from jlocal.cli.display.folders import filter_options
from jlocal.cli.display.lines import print_field
from jlocal.cli.display.quantities import counted
from jlocal.cli.group import Command
from jlocal.cli.options import size_text
from jlocal.cli.output_options import json_option
from jlocal.filenames import portable

if TYPE_CHECKING:
    from jlocal.collection.index.status import FolderStatus, Status


_INDENT = 11
_COUNTS = ("is_there", "documents", "new", "changed", "missing", "skipped", "large", "failed")


@click.command("status", cls=Command)
@database_option
@json_option
def command(database: Path, as_json: bool) -> None:
    """Show the content of a collection, and what is out of date.

    Files are compared by size and time: a file that was saved without a change counts as changed.
    The beginnings of files that are not in the collection are read, to tell text from photos.

    \b
    jlocal status
    jlocal status -d work --json
    """
    from jlocal.collection.collection import Collection

    with Collection(database) as collection:
        status = collection.status()
    if as_json:
        output.data(_facts(status), indent=2)
        return
    for name, value in _lines(status):
        print_field(name, value, _INDENT)


def _facts(status: Status) -> dict[str, object]:
    from jlocal.collection.names import name_of

    return {
        "name": name_of(status.path),
        "path": portable(str(status.path.absolute())),
        "size": status.size,
        "folders": [
            {"path": portable(folder.path)}
            | folder.folder.to_options()
            | {name: getattr(folder, name) for name in _COUNTS}
            for folder in status.folders
        ],
        "documents": status.documents,
        "outside": status.outside,
        "added": status.added,
        "passages": status.passages,
        "kept": status.kept,
        "unfinished": status.unfinished,
        "made_with": asdict(status.config) if status.config else None,
        "has_model": status.has_model,
        "unfinished_rebuild": status.is_rebuilt,
    }


def _lines(status: Status) -> list[tuple[str, str]]:
    from jlocal.collection.names import name_of

    name = name_of(status.path)
    lines = [("Collection", f"{name}  {status.path}" if name else str(status.path))]
    for number, folder in enumerate(status.folders):
        lines.append(("" if number else "Folders", _folder(folder, status.path)))
    if not status.folders:
        lines.append(("Folders", "none is remembered"))
    documents = f"{status.documents:,}"
    if status.added:
        documents += f", {status.added:,} of them added texts"
    if status.outside:
        documents += f", {status.outside:,} of them in no folder above"
    lines.append(("Documents", documents))
    if config := status.config:
        size = f"chunks of up to {config.chunk:,} tokens" if config.chunk else "whole texts"
        more = f"; {status.unfinished:,} more are embedded for files to index"
        passages = f"{status.passages:,}, {size}{more if status.unfinished else ''}"
        lines.append(("Passages", passages))
        where = "" if status.has_model else f", which is no longer at {config.model_path}"
        lines.append(("Model", f"{config.model}, {config.dimensions:,} dimensions{where}"))
    kept = ""
    if status.kept:
        command = f"jlocal index --compact{flag(status.path)}"
        texts = counted(status.kept, "text")
        kept = f"; {texts} of removed or changed documents kept; to delete them: {command}"
    lines.append(("Size", f"{size_text(status.size)}{kept}"))
    if status.is_rebuilt:
        command = f"jlocal index --rebuild{flag(status.path)}"
        lines.append(("Unfinished", f"a rebuild is not complete; to continue: {command}"))
    elif any(folder.new or folder.changed or folder.missing for folder in status.folders):
        lines.append(("Next", f"jlocal update{flag(status.path)}"))
    return lines


def _folder(status: FolderStatus, collection: Path) -> str:
    counts = [
        counted(status.documents, "document"),
        f"{counted(status.new, 'file')} to index" if status.new else "",
        f"{status.changed:,} changed" if status.changed else "",
        f"{status.missing:,} deleted" if status.missing else "",
        f"{status.skipped:,} skipped" if status.skipped else "",
        f"{status.large:,} too large" if status.large else "",
        f"{status.failed:,} not indexed (jlocal update{flag(collection)} says why)"
        if status.failed
        else "",
        *filter_options(status.folder),
    ]
    if not status.is_there:
        counts.append("the folder is missing, and its documents are kept")
    return f"{status.path}  {', '.join(filter(None, counts))}"
