"""`jlocal convert`: make GGUF files of a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jlocal.cli.options import calibration_options, threads_option
from jlocal.cli.output import path
from jlocal.cli.output_options import force_option, quiet_option
from jlocal.cli.progress import progress_bar
from jlocal.progress import log


@click.command("convert")
@click.argument("checkpoint")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="TASK",
    help="retrieval (the default), text-matching, clustering, classification, or all.",
)
@click.option(
    "--to",
    "types",
    multiple=True,
    default=("F16",),
    show_default=True,
    metavar="TYPE",
    help="F32, F16, BF16, Q8_0, Q4_K_M and other types of llama.cpp.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write the files to.",
)
@click.option("--revision", help="Branch, tag or commit of a repository.")
@click.option(
    "--name", help="Name of the model; the name of its folder or repository if not given."
)
@calibration_options
@click.option(
    "--verify",
    is_flag=True,
    help="At the end, compare each file's vectors with the checkpoint's, and write a model "
    "card with the losses, README.md, beside the files; needs: pip install "
    "'jlocal[verify]'.",
)
@force_option
@threads_option
@quiet_option("progress", "notes")
def command(  # noqa: PLR0913
    checkpoint: str,
    tasks: tuple[str, ...],
    types: tuple[str, ...],
    output: Path,
    revision: str | None,
    name: str | None,
    calibrate: tuple[str, ...],
    imatrix: Path | None,
    verify: bool,
    force: bool,
    threads: int | None,
    quiet: bool,
) -> None:
    """Make GGUF files of a jina-embeddings-v5-text checkpoint.

    CHECKPOINT is a folder, or a repository of the hub as OWNER/NAME. Each task's adapter is merged
    into separate files, whose paths are printed.

    \b
    jlocal convert jinaai/jina-embeddings-v5-text-small --to Q8_0 -o models
    jlocal convert ./nano --task all --to F16 --to Q4_K_M -o models
    jlocal convert ./nano --to IQ3_M --calibrate default --verify -o models
    """
    from jlocal_convert import convert as run

    with progress_bar(show=not quiet and sys.stderr.isatty()) as progress:
        files = run(
            checkpoint,
            tasks=tasks or None,
            types=types,
            output=output,
            revision=revision,
            name=name,
            calibration=calibrate,
            imatrix=imatrix,
            verify=verify,
            overwrite=force,
            threads=threads or 0,
            progress=progress,
        )
    if not quiet:
        _note_licence(files[0])
    for file in files:
        path(file)


def _note_licence(file: Path) -> None:
    from jlocal.models.profile import read_profile

    if licence := read_profile(file).license:
        log(f"Licence of these weights: {licence}")
