"""`jlocal index`: files into a collection."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from jlocal.cli.database import database_option
from jlocal.cli.encodings import encoding_option
from jlocal.cli.index_report import say_failure, say_report
from jlocal.cli.options import (
    compute_options,
    open_model,
    prompt_arguments,
    text_options,
)
from jlocal.progress import say


@click.command("index")
@click.argument("paths", nargs=-1, type=click.Path(readable=False, path_type=Path))
@database_option
@click.option("--include", multiple=True, metavar="GLOB", help="Of folders, only these files.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Of folders, not these.")
@click.option("--no-gitignore", is_flag=True, help="Take what .gitignore files name as well.")
@click.option(
    "--prune",
    is_flag=True,
    help="Also remove the documents of a path that is missing or has no file left.",
)
@click.option(
    "--compact",
    is_flag=True,
    help="Delete the texts of removed and changed documents for good, and do nothing else.",
)
@click.option(
    "--chunk",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Cut texts to chunks of at most so many tokens; whole texts if not given.",
)
@click.option(
    "--overlap",
    type=click.IntRange(min=0),
    metavar="TOKENS",
    help="So much of a chunk's end comes again in the next; an eighth of --chunk if not given.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Embed this field of each record of .jsonl, .ndjson, .json, .csv and .tsv files.",
)
@encoding_option
@click.option(
    "-m",
    "--model",
    envvar="JLOCAL_MODEL",
    show_envvar=True,
    help="Path of a GGUF file, or name of a model that is on this machine; if not given, the one "
    "that the collection was made with, or as for `jlocal embed`.",
)
@compute_options
@text_options
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    paths: tuple[Path, ...],
    database: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    no_gitignore: bool,
    prune: bool,
    compact: bool,
    chunk: int | None,
    overlap: int | None,
    fields: tuple[str, ...],
    encoding: str | None,
    model: str | None,
    quiet: bool,
    task: str | None,
    dimensions: int | None,
    prompt: str | None,
    prompt_text: str | None,
    **compute: Any,
) -> None:
    """Bring a collection up to date with files and folders.

    Only new and changed files are embedded. Documents below PATHS are removed when their files
    were deleted or are no longer selected. A path that is missing, or in which no file is left,
    is an error, and its documents stay unless --prune is given: a disk may not be mounted.

    The texts of removed and changed documents stay in the file, hidden from every search, so that
    nothing is embedded again when they come back. --compact, without PATHS, deletes them for good
    and makes the file smaller.

    Entries of folders whose names begin with a dot are left out, and so are files that .gitignore
    names. Of HTML and PDF files, what they show is read, with the extras jlocal[html] and
    jlocal[pdf]. The first run settles how texts are split and embedded; later runs need only -d.
    A run may be interrupted at any time and started again. Exit status 1 means that some file was
    not indexed; the others were.

    \b
    jlocal index notes/ -d notes.db -m small --chunk 512
    jlocal index notes/ -d notes.db
    jlocal index --compact -d notes.db
    jlocal index faq.jsonl --field question --field answer -d faq.db -m small
    """
    from jlocal.collection.collection import Collection
    from jlocal.progress import texts_bar

    if compact:
        if paths:
            raise click.UsageError("--compact goes without PATHS")
        _compact(database, quiet=quiet)
        return
    if not paths:
        raise click.UsageError("name the PATHS of files or folders")
    prompt_name, prefix = prompt_arguments(prompt, prompt_text)
    source = click.get_current_context().get_parameter_source("model")
    with Collection(database) as before:
        recipe = before.made_with()
        # What the environment names is for when nothing else does.
        if recipe and (model is None or source == ParameterSource.ENVIRONMENT):
            model = str(before.model_file())
        compute["pooling"] = recipe.pooling if recipe else None
    with (
        open_model(task, model, **compute) as embedder,
        Collection(database, embedder) as collection,
        texts_bar(None, show=not quiet and sys.stderr.isatty()) as on_texts,
    ):
        report = collection.index(
            paths,
            include=include,
            exclude=exclude,
            gitignore=not no_gitignore,
            prune=prune,
            chunk=chunk,
            overlap=overlap,
            fields=fields,
            encoding=encoding,
            prompt_name=prompt_name,
            prompt=prefix,
            truncate_dim=dimensions,
            on_failure=say_failure,
            on_texts=on_texts,
        )
    if not quiet:
        say_report(report, database)
    if report.failed:
        what = "input was" if report.failed == 1 else "inputs were"
        say(f"Error: {report.failed:,} {what} not indexed.")
        click.get_current_context().exit(1)


def _compact(database: Path, *, quiet: bool) -> None:
    from jlocal.collection.collection import Collection

    with Collection(database) as collection:
        done = collection.compact()
    if done.reason:
        say(f"Note: {database} was not made smaller: {done.reason}")
    if not quiet:
        texts = "text" if done.texts == 1 else "texts"
        freed = f"{done.freed / 1e6:,.1f} MB"
        say(f"Deleted {done.texts:,} {texts}; {freed} of disk space are free again.")
