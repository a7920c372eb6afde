"""`jlocal index`: index files in a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from jlocal.cli import flags
from jlocal.cli.completion import complete_model
from jlocal.cli.database import database_option
from jlocal.cli.display.index_report import log_failure
from jlocal.cli.encodings import encoding_option
from jlocal.cli.index_run import Run, run
from jlocal.cli.options import (
    chunk_options,
    compute_options,
    include_option,
    prompt_arguments,
    text_options,
)
from jlocal.cli.output_options import quiet_option, verbose_option
from jlocal.embed.options import ComputeOptions
from jlocal.filenames import rejoined
from jlocal.progress import log

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.collection.collection import Collection
    from jlocal.collection.index.report import OnProgress, Report
    from jlocal.embed.options import ComputeArguments


@click.command("index")
@click.argument("paths", nargs=-1, type=click.Path(readable=False, path_type=Path))
@database_option
@include_option
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Skip these files and subfolders in folders."
)
@click.option(
    "--no-gitignore",
    is_flag=True,
    help="Also read files that .gitignore files exclude, and folders of installed packages and "
    "caches (node_modules, __pycache__, virtual environments).",
)
@click.option(
    "--all",
    "large",
    is_flag=True,
    help="Also read large files in folders; otherwise files of more than 250,000 tokens are "
    "skipped.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Also remove the documents of a path that is missing or has no file left.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="Build the collection again from all of its folders and PATHS, with the given model,"
    " --chunk, --prompt and --dimensions. Searches use the old collection until the new "
    "one is complete; an interrupted rebuild continues.",
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
    help="Name of a model on this machine, or path of a GGUF file. If not given: the "
    "collection's model or, for a new collection, the default of `jlocal embed`.",
)
@compute_options
@text_options
@click.option(
    "--dry-run", is_flag=True, help="List the planned changes and their cost, and write nothing."
)
@verbose_option
@quiet_option("progress", "summary")
def command(  # noqa: PLR0913
    paths: tuple[Path, ...],
    database: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    no_gitignore: bool,
    large: bool,
    prune: bool,
    rebuild: bool,
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
    **compute: Unpack[ComputeArguments],
) -> None:
    """Bring a collection up to date with files and folders.

    Only new and changed files are embedded. Documents below PATHS are removed when their files were
    deleted or are no longer selected. A path that is missing or has no file left is an error, as
    its disk may not be mounted; its documents stay unless --prune is given.

    The texts of removed and changed documents stay in the file, hidden from every search, so that
    documents that come back are not embedded again. --compact, without PATHS, deletes these texts
    for good and makes the file smaller.

    Files and folders whose names begin with a dot, files that .gitignore excludes, and folders of
    installed packages and caches are skipped unless they are among PATHS. HTML pages, PDF files and
    office documents are read with `pip install 'jlocal[files]'`. The first run fixes how texts are
    split and embedded.

    Files in folders that are not text, such as photos, are skipped and counted; so are empty files,
    broken links and, unless --all is given, files of more than 250,000 tokens (about 1 MB of
    prose). Exit status 1 means that a text file, or a file named in PATHS, was not indexed; all
    other files were.

    Finished work is saved every few seconds: you can interrupt a run at any time and start it
    again.

    \b
    jlocal index notes/ -d notes.db -m small
    jlocal index notes/ -d notes.db
    jlocal index --compact -d notes.db
    jlocal index faq.jsonl --field question --field answer -d faq.db -m small
    """
    if compact:
        if paths:
            raise click.UsageError("--compact takes no PATHS")
        _compact(database, quiet=quiet)
        return
    if rebuild and dry_run:
        raise click.UsageError("--dry-run cannot be combined with --rebuild")
    if not paths and (include or exclude or no_gitignore or large or encoding):
        raise click.UsageError("name the PATHS that these options are for")
    prompt_name, prefix = prompt_arguments(prompt, prompt_text)

    def work(collection: Collection, on_progress: OnProgress | None, rebuild: bool) -> Report:
        return collection.index(
            paths,
            include=include or None,
            exclude=exclude or None,
            gitignore=False if no_gitignore else None,
            prune=prune,
            large=large or None,
            rebuild=rebuild,
            chunk=chunk,
            overlap=overlap,
            fields=tuple(map(rejoined, fields)),
            encoding=encoding,
            prompt_name=prompt_name,
            prompt=prefix,
            truncate_dim=dimensions,
            dry_run=dry_run,
            on_failure=log_failure,
            on_progress=on_progress,
        )

    run(
        Run(database, model, task, ComputeOptions(**compute), verbose, quiet), work, rebuild=rebuild
    )


def _compact(database: Path, *, quiet: bool) -> None:
    from jlocal.collection.collection import Collection

    with Collection(database) as collection:
        done = collection.compact()
    if done.reason:
        log(f"Note: {database} was not made smaller: {flags.worded(done.reason)}")
    if not quiet:
        texts = "text" if done.texts == 1 else "texts"
        freed = f"{done.freed / 1e6:,.1f} MB"
        log(f"Deleted {done.texts:,} {texts}; freed {freed} of disk space.")
