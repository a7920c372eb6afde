"""`jlocal mcp`: let a model search collections, by the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import signals
from jlocal.cli.group import Command
from jlocal.cli.options import compute_options
from jlocal.mcp import check_installed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.options import ComputeArguments


@click.command("mcp", cls=Command)
@click.option(
    "-d",
    "--database",
    "names",
    multiple=True,
    metavar="COLLECTION",
    help="Let the model search this collection, by name or path; may be repeated. Without -d, it "
    "may search all that `jlocal collections` lists.",
)
@compute_options
def command(names: tuple[str, ...], **compute: Unpack[ComputeArguments]) -> None:
    """Let a chat program or a coding tool search your collections.

    Programs that speak the Model Context Protocol start this command themselves and talk to it
    through its standard input and output. Its tools are search, read, list_collections and status:
    they change nothing, work offline, and read documents from the collection, not from the disk.

    \b
    jlocal mcp
    jlocal mcp -d work -d ~/papers.db
    claude mcp add jlocal -- jlocal mcp
    """
    check_installed()
    paths = _paths(names)
    from jlocal.mcp.app import run_stdio
    from jlocal.mcp.library import Library
    from jlocal.mcp.models import OwnModels

    # Nothing is written, so a signal need not wait for a thread that reads standard input.
    signals.end_at_once()
    run_stdio(Library(OwnModels(compute), paths, shows_paths=True))


def _paths(names: tuple[str, ...]) -> list[Path]:
    from jlocal.collection.names import collection_path, missing
    from jlocal.errors import ArgumentError

    try:
        paths = [collection_path(name).absolute() for name in names]
    except ArgumentError as error:
        raise click.BadParameter(str(error), param_hint="-d") from error
    for path in paths:
        if not path.exists():
            raise missing(path)
    return paths
