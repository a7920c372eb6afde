"""`jlocal index`: files into a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from jlocal.cli.completion import complete_model
from jlocal.cli.database import database_option
from jlocal.cli.display.index_report import log_failure
from jlocal.cli.encodings import encoding_option
from jlocal.cli.index_run import Run, run
from jlocal.cli.options import chunk_options, compute_options, prompt_arguments, text_options
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
@click.option("--include", multiple=True, metavar="GLOB", help="Read only these files in folders.")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave these files and folders out of folders."
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
    help="Read files in folders however large they are; files of more than 250,000 tokens are "
    "skipped otherwise.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Also remove the documents of a path that is missing or has no file left.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="Make the collection anew, from all of its folders and PATHS, with the model, --chunk, "
    "--prompt and --dimensions that are given. Searches answer from the old one until the new one "
    "is complete; an interrupted rebuild is continued.",
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

    Only new and changed files are embedded. Documents below PATHS are removed when their files
    were deleted or are no longer selected. A path that is missing, or in which no file is left,
    is an error, and its documents stay unless --prune is given: a disk may not be mounted.

    The texts of removed and changed documents stay in the file, hidden from every search, so that
    nothing is embedded again when they come back. --compact, without PATHS, deletes them for good
    and makes the file smaller.

    Entries of folders whose names begin with a dot are left out, and so are files that .gitignore
    names, and folders of installed packages and caches, unless they are among PATHS. HTML pages,
    PDF files and office documents are read with `pip install 'jlocal[files]'`. The first run
    settles how texts are split and embedded.

    Files in folders that are not text, such as photos, are skipped and counted; so are empty files,
    links that lead nowhere, and files of more than 250,000 tokens (about 1 MB of prose), which
    --all takes. Exit status 1 means that a file that is text, or that was named in PATHS, was not
    indexed; the others were.

    What is done is written every few seconds. A run may be interrupted at any time and started
    again.

    \b
    jlocal index notes/ -d notes.db -m small
    jlocal index notes/ -d notes.db
    jlocal index --compact -d notes.db
    jlocal index faq.jsonl --field question --field answer -d faq.db -m small
    """
    if compact:
        if paths:
            raise click.UsageError("--compact goes without PATHS")
        _compact(database, quiet=quiet)
        return
    if rebuild and dry_run:
        raise click.UsageError("--dry-run does not go with --rebuild")
    if not paths and (include or exclude or no_gitignore or large or encoding):
        raise click.UsageError("name the PATHS of which this is to be remembered")
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
        log(f"Note: {database} was not made smaller: {done.reason}")
    if not quiet:
        texts = "text" if done.texts == 1 else "texts"
        freed = f"{done.freed / 1e6:,.1f} MB"
        log(f"Deleted {done.texts:,} {texts}; {freed} of disk space are free again.")
