"""`jlocal export`: write the vectors of a collection for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import flags
from jlocal.cli.database import database_option
from jlocal.cli.group import Command
from jlocal.cli.options import format_option, safe_cells_option
from jlocal.cli.output import binary
from jlocal.cli.output_options import quiet_option
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.export import OnFailure
    from jlocal.inputs.documents import Unreadable


@click.command("export", cls=Command)
@database_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write or replace; - is JSON lines on standard output.",
)
@format_option
@safe_cells_option
@click.option(
    "--llm",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Database of llm to make, or to add a collection to.",
)
@click.option(
    "--lancedb",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Database of LanceDB to make, or to add a table to.",
)
@click.option(
    "--qdrant",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="New folder for Qdrant's local mode.",
)
@click.option(
    "--name",
    help="Name of the collection or table in llm, LanceDB or Qdrant; the name of its file if not "
    "given.",
)
@quiet_option("summary")
def command(  # noqa: PLR0913
    database: Path,
    output: Path | None,
    format: str | None,
    safe_cells: bool,
    llm: Path | None,
    lancedb: Path | None,
    qdrant: Path | None,
    name: str | None,
    quiet: bool,
) -> None:
    """Write the vectors of a collection for other programs.

    jsonl, csv and parquet have id, path, page, first_line, last_line, text and the vector of each
    passage; npz has ids and vectors, npy only vectors. An id is PATH:LINE; for a page of a PDF file
    it is PATH p. PAGE, and for other files that have no lines it is PATH. A repeated id gets #2, #3
    and so on.

    csv, parquet and the databases cannot hold a path that is not UTF-8: passages with one are
    reported, all other passages are written, and the exit status is 1. A spreadsheet runs texts
    that begin with =, +, - or @ as formulas, even in quotation marks: use --safe-cells for csv
    files that you will open in one.

    --llm writes an embeddings database for Simon Willison's llm, which then finds passages that are
    similar to a given passage. llm knows the model as jlocal/NAME and cannot compute with it: for
    questions in your own words use jlocal search, not llm similar -c. An existing database gets one
    more collection and is otherwise unchanged; the name of an existing collection is refused.

    --lancedb writes a table with the columns of parquet, and `vector`. --qdrant writes points with
    id, path, page, first_line, last_line and text as payload; Qdrant's local mode is for up to
    about 20,000 passages.

    \b
    jlocal export -d notes.db -o notes.parquet
    jlocal export -d notes.db --lancedb lance --name notes
    jlocal export -d notes.db --qdrant qdrant --name notes
    jlocal export -d notes.db --llm embeddings.db --name notes
    llm similar notes /home/me/notes/a.md:1 -d embeddings.db
    """
    failed = 0

    def on_failure(failure: Unreadable) -> None:
        nonlocal failed
        failed += 1
        log(f"Not written: {failure.id}: {flags.worded(failure.reason)}")

    databases = {"llm": llm, "lancedb": lancedb, "qdrant": qdrant}
    named = {kind: path for kind, path in databases.items() if path is not None}
    if named:
        kind, target = named.popitem()
        if named or output is not None or format is not None or safe_cells:
            raise click.UsageError(
                f"--{kind} cannot be combined with another database, -o, -f or --safe-cells"
            )
        count = _to_database(kind, database, target, name, on_failure)
    elif output is None:
        raise click.UsageError(
            "name a file with -o, or a database with --llm, --lancedb or --qdrant"
        )
    elif name is not None:
        raise click.UsageError("--name works only with --llm, --lancedb and --qdrant")
    else:
        target = output
        count = _to_file(database, output, format, safe_cells, on_failure)
    if not quiet and str(output) != "-":
        log(f"Wrote {count:,} vector{'s' if count != 1 else ''} to {target}")
    if failed:
        log(f"Error: {failed:,} of {count + failed:,} vectors were not written.")
        click.get_current_context().exit(1)


def _to_database(
    kind: str, database: Path, target: Path, name: str | None, on_failure: OnFailure
) -> int:
    chosen = database.stem if name is None else name
    if kind == "lancedb":
        from jlocal.collection.lancedb import export_to_lancedb

        return export_to_lancedb(database, target, chosen, on_failure)
    if kind == "qdrant":
        from jlocal.collection.qdrant import export_to_qdrant

        return export_to_qdrant(database, target, chosen, on_failure)
    from jlocal.collection.llm import export_to_llm

    return export_to_llm(database, target, chosen, on_failure)


def _to_file(
    database: Path, output: Path, format: str | None, safe_cells: bool, on_failure: OnFailure
) -> int:
    from jlocal.collection.export import export, open_rows, write
    from jlocal.outputs.writers import JsonLines, format_of

    if str(output) != "-":
        chosen = format or format_of(output)
    elif format in (None, "jsonl"):
        chosen = "jsonl"
    else:
        raise click.UsageError(f"{format} cannot go to standard output; name a file with -o")
    if safe_cells and chosen != "csv":
        raise click.UsageError("--safe-cells works only with csv")
    if str(output) != "-":
        return export(database, output, chosen, safe_cells=safe_cells, on_failure=on_failure)
    with open_rows(database) as (_, rows), binary() as file:
        return write(rows, JsonLines(file), on_failure)
