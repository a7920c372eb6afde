"""`jlocal mteb`: evaluate a model on tasks of mteb, or on data sets of one's own."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import flags, output
from jlocal.cli.completion import complete_model
from jlocal.cli.options import WholeNumber, compute_options
from jlocal.cli.output_options import json_option, quiet_option
from jlocal.progress import log

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from typing_extensions import Unpack

    from jlocal.embed.embedder import OnLong
    from jlocal.embed.options import ComputeArguments
    from jlocal.integrations.mteb import JlocalModel, Score


@click.command("mteb")
@click.argument("model", envvar="JLOCAL_MODEL", shell_complete=complete_model)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    required=True,
    metavar="TASK",
    help="Data set on this machine, or name of a task of mteb; may be repeated.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for the results; mteb's own cache if not given.",
)
@click.option(
    "--dimensions",
    type=WholeNumber(min=1),
    metavar="N",
    help="Keep the first N dimensions, if the model was trained for it (Matryoshka).",
)
@click.option(
    "--on-long",
    type=click.Choice(["error", "truncate"]),
    default="truncate",
    show_default=True,
    help="What to do with a text that is longer than the model's context.",
)
@compute_options
@click.option("--force", is_flag=True, help="Compute a task again even if its result exists.")
@json_option
@quiet_option("progress", "notes")
def command(
    model: str,
    tasks: tuple[str, ...],
    folder: Path | None,
    dimensions: int | None,
    on_long: OnLong,
    force: bool,
    as_json: bool,
    quiet: bool,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Evaluate a model on tasks of mteb, or on your own data.

    mteb is the Massive Text Embedding Benchmark. The data of its tasks are downloaded from the
    Hugging Face hub, unless they are on this machine. A data set of your own needs no network; it
    is a folder in the format of BEIR, or a .jsonl, .csv or .tsv file:

    \b
    retrieval    a folder: corpus.jsonl (_id, title, text), queries.jsonl
                 (_id, text), qrels.tsv (query, document, score)
    similarity   a file with sentence1, sentence2 and score
    clustering   a file with text and label

    mteb writes a result file for each task, and does not compute a task again unless the model's
    file, the data or mteb have changed. Exit status 1 means that a task could not be run. Needs:
    pip install 'jlocal[mteb]'.

    \b
    jlocal mteb small --task sets/questions --task pairs.csv -o results
    jlocal mteb small-text-matching --task STSBenchmark
    """
    from jlocal import extras

    extras.require("mteb", "jlocal mteb needs")
    _be_quiet()
    from jlocal.integrations.mteb import JlocalModel
    from jlocal.integrations.mteb_sets import find_task

    if folder:
        folder.mkdir(parents=True, exist_ok=True)  # before anything is computed
    sets = [find_task(task) for task in tasks]
    _check_names([task.metadata.name for task in sets])
    opened = JlocalModel(model, truncate_dim=dimensions, on_long=on_long, **compute)
    show = not quiet and sys.stderr.isatty()
    scores = [
        score
        for task in sets
        if (score := _run(opened, task, folder, force=force, show=show, quiet=quiet))
    ]
    if as_json:
        output.data([vars(score) | {"file": str(score.file)} for score in scores], indent=2)
    else:
        for row in _table(scores):
            output.line(row)
    if len(scores) < len(sets):
        raise click.ClickException(
            f"{len(sets) - len(scores)} of {len(sets)} tasks could not be run"
        )


def _be_quiet() -> None:
    """Keep the bars and the log of mteb and of its libraries from standard error."""
    import datasets

    datasets.disable_progress_bars()
    for name in ("mteb", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _check_names(names: list[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise click.UsageError(f"two tasks are called {repeated[0]!r}; rename one of them")


def _run(
    model: JlocalModel,
    task: AbsTask,
    folder: Path | None,
    *,
    force: bool,
    show: bool,
    quiet: bool,
) -> Score | None:
    """Run a task; report why, if it cannot be run, so that others are."""
    from jlocal.errors import JlocalError
    from jlocal.integrations.mteb import run_task

    name = task.metadata.name
    fitting = model.wrong_adapter(task.metadata)
    if fitting and not quiet:
        log(f"Note: {name}: the adapter for this task is {fitting}; the file has another one.")
    try:
        with _notes(name, show=not quiet):
            return run_task(model, task, folder, again=force, show_progress=show)
    except JlocalError as error:
        log(f"Not run: {name}: {flags.message(error)}")
        return None


@contextmanager
def _notes(task: str, *, show: bool) -> Iterator[None]:
    """Print the warnings of a task as notes, and truncated texts as their number."""
    from jlocal.errors import TruncationWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    truncated = sum(issubclass(warning.category, TruncationWarning) for warning in caught)
    if truncated and show:
        log(f"Note: {task}: {truncated:,} texts were truncated to the model's context.")
    others = (w.message for w in caught if not issubclass(w.category, TruncationWarning))
    for message in dict.fromkeys(map(str, others)):
        if show:
            log(f"Note: {task}: {message}")


def _table(scores: list[Score]) -> Iterator[str]:
    """Yield a line for each task, and after it the name of its file."""
    tasks, measures = (
        max((len(text) for text in column), default=0)
        for column in ([score.task for score in scores], [score.measure for score in scores])
    )
    for score in scores:
        yield f"{score.task:{tasks}}  {score.measure:{measures}}  {score.score:.4f}  {score.file}"
