"""`jlocal update`: bring a collection up to date with the folders that it remembers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli.database import database_option
from jlocal.cli.display.index_report import log_failure
from jlocal.cli.group import Command
from jlocal.cli.index_run import Run, run
from jlocal.cli.options import compute_options, moved_model_option
from jlocal.cli.output_options import quiet_option, verbose_option
from jlocal.embed.options import ComputeOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.collection.collection import Collection
    from jlocal.collection.index.report import OnProgress, Report
    from jlocal.embed.options import ComputeArguments


@click.command("update", cls=Command)
@database_option
@click.option(
    "--prune",
    is_flag=True,
    help="Also remove the documents of a folder that is missing or has no file left.",
)
@moved_model_option
@compute_options
@verbose_option
@quiet_option("progress", "summary")
def command(
    database: Path,
    prune: bool,
    model: str | None,
    verbose: bool,
    quiet: bool,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Bring a collection up to date with its folders.

    It reads all folders and files that `jlocal index` was given, with their options. Only new and
    changed files are embedded, and the documents of deleted files are removed. A missing folder
    keeps its documents, and the exit status is 1; all other folders are brought up to date. `jlocal
    index` without PATHS does the same.

    \b
    jlocal update
    jlocal update -d work
    """

    def work(collection: Collection, on_progress: OnProgress | None, _rebuild: bool) -> Report:
        return collection.update(prune=prune, on_failure=log_failure, on_progress=on_progress)

    run(Run(database, model, None, ComputeOptions(**compute), verbose, quiet), work)
