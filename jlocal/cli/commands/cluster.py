"""`jlocal cluster`: a corpus that is too large for one machine."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from jlocal.cli.group import Group
from jlocal.cli.options import (
    WholeNumber,
    add_options,
    default_model,
    model_option,
    offline_option,
    on_long_option,
    precision_option,
    prompt_arguments,
    text_options,
    threads_option,
)
from jlocal.cli.output_options import quiet_option
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.cluster.job import Plan
    from jlocal.cluster.run import OnOutcome, Summary
    from jlocal.embed.embedder import OnLong


@click.group("cluster", cls=Group)
def command() -> None:
    """Embed a corpus that is too large for one machine.

    \b
    jlocal cluster embed corpus/ vectors/ -m small --address auto
    jlocal cluster embed --help
    """


def _part(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{value!r} is not a part such as 3/16, the third of sixteen.")
    return int(match[1]), int(match[2])


_CORPUS_OPTIONS = (
    click.option(
        "--id",
        metavar="NAME",
        help="Field with the ids. If not given: id, or FILE:LINE for a record without it.",
    ),
    click.option(
        "--text", default="text", show_default=True, metavar="NAME", help="Field with the texts."
    ),
    click.option("--with-text", is_flag=True, help="Write the texts beside their vectors."),
    click.option(
        "--shard-rows",
        type=WholeNumber(min=1),
        default=10_000,
        show_default=True,
        metavar="N",
        help="Texts in each file of OUT, and the most that are computed again after a crash.",
    ),
)
_NODE_OPTIONS = (
    click.option(
        "--address",
        metavar="ADDRESS",
        help="Address of a Ray cluster, or auto if this machine is one of its nodes. If not given, "
        "Ray is started on this machine alone.",
    ),
    click.option(
        "--actors",
        type=WholeNumber(min=1),
        metavar="N",
        help="Number of actors, Ray's worker processes; one for each GPU, or one for each node if "
        "there is no GPU, if not given.",
    ),
    click.option(
        "--cpus-per-actor",
        type=WholeNumber(min=1),
        metavar="N",
        help="CPUs and threads of each actor. If not given, the actors of a node share its CPUs "
        "evenly.",
    ),
    click.option(
        "--gpus-per-actor",
        type=click.FloatRange(min=0),
        metavar="N",
        help="GPUs of each actor; 1 if not given and the cluster has GPUs.",
    ),
    click.option(
        "--part",
        callback=_part,
        metavar="I/N",
        help="Compute part I of N in this process, without Ray.",
    ),
    threads_option,
)


@command.command("embed")
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT")
@model_option
@lambda function: add_options(_CORPUS_OPTIONS, function)
@text_options
@precision_option
@on_long_option
@lambda function: add_options(_NODE_OPTIONS, function)
@quiet_option("progress", "notes", "summary")
def embed(  # noqa: PLR0913
    source: str,
    output: str,
    model: str | None,
    id: str | None,
    text: str,
    with_text: bool,
    shard_rows: int,
    prompt: str | None,
    prompt_text: str | None,
    dimensions: int | None,
    task: str | None,
    precision: str,
    on_long: OnLong,
    address: str | None,
    actors: int | None,
    cpus_per_actor: int | None,
    gpus_per_actor: float | None,
    part: tuple[int, int] | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Embed a corpus, and write the vectors to Parquet files.

    IN is a .parquet, .jsonl or .txt file, or a folder of such files. OUT is a folder, whose files
    have the columns id, vector and error. Both are paths that all nodes share, or URIs that
    pyarrow can open, such as s3://bucket/folder. A text that cannot be embedded gets a row with an
    error and no vector, and the exit status is 1.

    The corpus is divided into shards, and each shard is one file of OUT, which appears when it is
    complete. Run the same command again to continue an interrupted job, or after you have added
    files to IN. A node uses the model on its own disk if its SHA-256 is right; otherwise it fetches
    the model from the machine where you run the command.

    Ray distributes the shards to the nodes. Needs: pip install 'jlocal[ray]'. --part does not use
    Ray: start N processes, with --part 1/N to N/N, for example by Slurm or Kubernetes.

    \b
    jlocal cluster embed corpus/ vectors/ -m small --address auto
    jlocal cluster embed corpus.jsonl vectors/ -m small --actors 2
    jlocal cluster embed corpus/ vectors/ -m small --part 3/16
    """
    from jlocal.cluster.job import new_job, plan
    from jlocal.cluster.run import run_part
    from jlocal.embed.options import ComputeOptions, EncodeOptions
    from jlocal.inputs.corpus import Fields

    if part and (address or actors or cpus_per_actor or gpus_per_actor):
        raise click.UsageError(
            "--part does not use Ray, so it cannot be combined with --address, --actors, "
            "--cpus-per-actor or --gpus-per-actor"
        )
    is_given = click.get_current_context().get_parameter_source("threads")
    if is_given is ParameterSource.COMMANDLINE and not part:
        raise click.UsageError("--threads works only with --part; with Ray, use --cpus-per-actor")
    if not part:
        _check_ray()
    job = new_job(
        source,
        output,
        model or default_model(quiet=quiet),
        options=EncodeOptions(*prompt_arguments(prompt, prompt_text), dimensions, precision),
        on_long=on_long,
        task=task,
    )
    job = replace(job, fields=Fields(id, text), shard_rows=shard_rows, with_text=with_text)
    planned = plan(job)
    if planned.done and not quiet:
        log(f"{planned.done:,} of {planned.done + len(planned.tasks):,} shards are done already")
    if part:
        with _bar(planned, quiet=quiet) as on_outcome:
            summary = run_part(job, planned, part, ComputeOptions(threads), on_outcome)
    else:
        with _empty_folder():
            _start_ray(address)
        from jlocal.cluster.nodes import Workers
        from jlocal.integrations.ray import embed_files

        workers = Workers(actors, cpus_per_actor, gpus_per_actor)
        with _bar(planned, quiet=quiet) as on_outcome:
            summary = embed_files(job, planned, workers, on_outcome)
    _report(summary, output, quiet=quiet)


def _check_ray() -> None:
    from jlocal import extras

    extras.require("ray", "jlocal cluster needs", instead="--part I/N works without")


def _start_ray(address: str | None) -> None:
    from jlocal.integrations.ray import start

    start(address)


@contextmanager
def _empty_folder() -> Iterator[None]:
    """Change to an empty folder: Ray's processes import modules from where Ray is started."""
    here, empty = os.getcwd(), tempfile.mkdtemp(prefix="jlocal-ray-")  # noqa: PTH109
    # Ray's processes stay in it.
    atexit.register(shutil.rmtree, empty, ignore_errors=True)
    os.chdir(empty)
    try:
        yield
    finally:
        os.chdir(here)


@contextmanager
def _bar(planned: Plan, *, quiet: bool) -> Iterator[OnOutcome]:
    from jlocal.progress import make_bar

    show = not quiet and sys.stderr.isatty()
    with make_bar(total=len(planned.tasks), unit=" shards", disable=not show) as bar:
        yield lambda _: bar.update()


def _report(summary: Summary, output: str, *, quiet: bool) -> None:
    for failure in summary.failures:
        log(f"Not read: {failure}")
    if not quiet:
        texts = f"{summary.texts:,} vector{'s' if summary.texts != 1 else ''}"
        log(f"Wrote {texts} of {summary.tokens:,} tokens to {output}")
    if summary.errors:
        texts = "1 text has" if summary.errors == 1 else f"{summary.errors:,} texts have"
        log(f"Error: {texts} no vector, such as {summary.first_error}")
    if summary.failures:
        log(f"Error: {len(summary.failures):,} shards were not computed; run the command again.")
    if summary.errors or summary.failures:
        click.get_current_context().exit(1)


for _subcommand in command.commands.values():
    _subcommand.params.append(offline_option())
