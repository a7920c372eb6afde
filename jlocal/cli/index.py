"""`jlocal index`: files into a collection."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, Literal

import click
from click.core import ParameterSource

from jlocal.cli.completion import complete_model
from jlocal.cli.database import database_option
from jlocal.cli.encodings import encoding_option
from jlocal.cli.index_progress import index_bar
from jlocal.cli.index_report import (
    say_error,
    say_failure,
    say_model,
    say_next,
    say_report,
    show_plan,
)
from jlocal.cli.options import (
    chunk_options,
    compute_options,
    open_model,
    prompt_arguments,
    text_options,
)
from jlocal.progress import say


@click.command("index")
@click.argument("paths", nargs=-1, type=click.Path(readable=False, path_type=Path))
@database_option
@click.option("--include", multiple=True, metavar="GLOB", help="Read only these files in folders.")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave these files and folders out of folders."
)
@click.option("--no-gitignore", is_flag=True, help="Also read files that .gitignore files exclude.")
@click.option(
    "--all",
    "large",
    is_flag=True,
    help="Read files in folders however large they are; files of more than 250,000 tokens are "
    "skipped otherwise.",
)
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
@chunk_options
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
    metavar="MODEL",
    shell_complete=complete_model,
    help="Name of a model on this machine, or path of a GGUF file. If not given: the model that "
    "made the collection, or for a new one, as for `jlocal embed`.",
)
@compute_options
@text_options
@click.option(
    "--dry-run", is_flag=True, help="List what would be done, and its cost, and write nothing."
)
@click.option("-v", "--verbose", is_flag=True, help="Name every file that is skipped.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
def command(
    paths: tuple[Path, ...],
    database: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    no_gitignore: bool,
    large: bool,
    prune: bool,
    compact: bool,
    chunk: int | Literal["auto"] | None,
    overlap: int | None,
    fields: tuple[str, ...],
    encoding: str | None,
    model: str | None,
    dry_run: bool,
    verbose: bool,
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
    names. HTML pages, PDF files and office documents are read with
    `pip install 'jlocal[files]'`. The first run settles how texts are split and embedded.

    Files in folders that are not text, such as photos, are skipped and counted; so are empty files
    and files of more than 250,000 tokens (about 1 MB of prose), which --all takes. Exit status 1
    means that a file that is text, or that was named in PATHS, was not indexed; the others were.

    What is done is written every few seconds. A run may be interrupted at any time and started
    again.

    \b
    jlocal index notes/ -d notes.db -m small
    jlocal index notes/ -d notes.db
    jlocal index --compact -d notes.db
    jlocal index faq.jsonl --field question --field answer -d faq.db -m small
    """
    from jlocal.collection.collection import Collection
    from jlocal.models import names

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
    began = time.monotonic()
    with (
        open_model(task, model or names.default(), **compute) as embedder,
        Collection(database, embedder) as collection,
        index_bar(
            quiet=quiet, before=None if recipe else functools.partial(say_model, embedder)
        ) as on_progress,
    ):
        report = collection.index(
            paths,
            include=include or None,
            exclude=exclude or None,
            gitignore=False if no_gitignore else None,
            prune=prune,
            large=large or None,
            chunk=chunk,
            overlap=overlap,
            fields=fields,
            encoding=encoding,
            prompt_name=prompt_name,
            prompt=prefix,
            truncate_dim=dimensions,
            dry_run=dry_run,
            on_failure=say_failure,
            on_progress=on_progress,
        )
    if dry_run:
        show_plan(report)
    elif not quiet:
        say_report(report, database, time.monotonic() - began, verbose=verbose)
        say_next(report, database)
    if report.failed:
        say_error(report)
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
