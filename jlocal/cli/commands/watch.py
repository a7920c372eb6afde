"""`jlocal watch`: keep a collection up to date while its files change."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import output
from jlocal.cli.database import database_option
from jlocal.cli.display.index_report import log_failure
from jlocal.cli.group import Command
from jlocal.cli.index_run import Run, opened_model
from jlocal.cli.options import compute_options, moved_model_option
from jlocal.embed.options import ComputeOptions
from jlocal.errors import EmptyCollectionError
from jlocal.progress import log

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.collection.watch import Kind
    from jlocal.embed.options import ComputeArguments


@click.command("watch", cls=Command)
@database_option
@moved_model_option
@compute_options
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def command(
    database: Path, model: str | None, quiet: bool, **compute: Unpack[ComputeArguments]
) -> None:
    """Keep a collection up to date while its files change.

    The model stays loaded, and each change is printed as one line. A missing folder keeps its
    documents, and is read again when it is back. `jlocal search` and `jlocal index` work meanwhile.
    Ctrl-C ends the command. Needs: pip install 'jlocal[watch]'.

    \b
    jlocal watch
    """
    from jlocal.collection.collection import Collection
    from jlocal.collection.watch import check_installed, watch

    check_installed()

    def on_change(kind: Kind, path: str) -> None:
        if not quiet:
            output.line(f"{time.strftime('%H:%M:%S')}  {kind:8} {_short(path)}")
            sys.stdout.flush()

    def on_note(note: str) -> None:
        if not quiet:
            log(f"Note: {note}")

    run = Run(database, model, None, ComputeOptions(**compute), False, quiet)
    with Collection(database) as collection:
        config = collection.made_with()
        if config is None:
            raise EmptyCollectionError(database)
        with opened_model(run, collection, config):
            if not quiet:
                count = len(collection.folders())
                what = "1 folder" if count == 1 else f"{count:,} folders"
                log(f"Watching {what}; Ctrl-C ends it.")
            watch(collection, on_change, log_failure, on_note)


def _short(path: str) -> str:
    """Return a path relative to the current folder if the folder holds it."""
    inside = path.startswith(f"{Path.cwd()}{os.sep}")
    return os.path.relpath(path) if inside else path
