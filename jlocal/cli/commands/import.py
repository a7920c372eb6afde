"""`jlocal import`: texts with vectors that were computed elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import flags
from jlocal.cli.database import database_option
from jlocal.cli.options import add_options, compute_options
from jlocal.cli.output_options import quiet_option
from jlocal.progress import log

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.options import ComputeArguments
    from jlocal.inputs.documents import Unreadable

_FIELD_OPTIONS = (
    click.option("--id", default="id", show_default=True, metavar="NAME", help="Column of ids."),
    click.option(
        "--text", default="text", show_default=True, metavar="NAME", help="Column of texts."
    ),
    click.option(
        "--vector",
        metavar="NAME",
        help="Column of vectors; vector or embedding if not given.",
    ),
)


@click.command("import")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH...",
)
@database_option
@click.option(
    "--texts",
    metavar="PATH",
    help="Corpus with the texts and their ids, if the files of vectors have no texts: .parquet, "
    ".jsonl or .txt, a folder of such files, or a URI that pyarrow can open.",
)
@lambda command: add_options(_FIELD_OPTIONS, command)
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="Model that made the vectors. If not given: the collection's model, or the model on this "
    "machine with the SHA-256 that the files name.",
)
@compute_options
@quiet_option("progress", "summary")
def command(
    paths: tuple[Path, ...],
    database: Path,
    texts: str | None,
    id: str,
    text: str,
    vector: str | None,
    model: str | None,
    quiet: bool,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Add texts with their vectors to a collection.

    The vectors were computed elsewhere, such as on a cluster, with the model of the collection.

    PATH is a .parquet file, a folder of such files, which `jlocal cluster embed` writes, or an .npz
    file. Each row becomes a text with its id; other columns with texts and numbers become its
    metadata.

    Files that jlocal wrote hold the SHA-256 of their model, and vectors of another model are
    refused. The vectors of the first texts are also computed again and compared. Rows without a
    text or a vector are reported, all other rows are imported, and the exit status is 1.

    \b
    jlocal import vectors/ --texts corpus.jsonl -d corpus
    jlocal import vectors.npz --texts lines.txt -d lines
    jlocal export -d notes -o notes.parquet; jlocal import notes.parquet -d copy
    """
    from jlocal.collection.collection import Collection
    from jlocal.progress import make_bar

    failed = 0

    def on_failure(failure: Unreadable) -> None:
        nonlocal failed
        failed += 1
        log(f"Not imported: {failure.id}: {flags.worded(failure.reason)}")

    show = not quiet and sys.stderr.isatty()
    with (
        Collection(database, model, **compute) as collection,
        make_bar(unit=" texts", disable=not show) as bar,
    ):
        count = collection.import_vectors(
            paths,
            texts=texts,
            on_failure=on_failure,
            on_rows=bar.update,
            id=id,
            text=text,
            vector=vector,
        )
    if not quiet:
        log(f"Imported {count:,} text{'s' if count != 1 else ''} into {database}")
    if failed:
        log(f"Error: {failed:,} of {count + failed:,} rows were not imported.")
        click.get_current_context().exit(1)
