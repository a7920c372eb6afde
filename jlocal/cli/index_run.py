"""A run of `jlocal index` or `jlocal update`: the model, the progress and the summary."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from jlocal.cli import flags
from jlocal.cli.display.folders import log_folders
from jlocal.cli.display.index_progress import index_bar
from jlocal.cli.display.index_report import (
    log_error,
    log_model,
    log_next_step,
    log_report,
    show_plan,
)
from jlocal.cli.options import agree, open_model
from jlocal.errors import JlocalError, OtherConfigError
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.collection import Collection
    from jlocal.collection.config import CollectionConfig
    from jlocal.collection.index.folders import Folder
    from jlocal.collection.index.report import OnProgress, Report
    from jlocal.embed.embedder import Embedder
    from jlocal.embed.options import ComputeOptions

# Given the collection, whom to tell of progress, and whether to make the collection anew.
Work = Callable[["Collection", "OnProgress | None", bool], "Report"]


@dataclass(frozen=True)
class Run:
    """How a run is to go.

    Attributes:
        database: file of the collection.
        model: that was named; None takes the one that the collection was made with.
        task: that the model must be for.
        compute: how the model is computed.
        verbose: name each file that is skipped.
        quiet: show no progress and no summary.

    """

    database: Path
    model: str | None
    task: str | None
    compute: ComputeOptions
    verbose: bool
    quiet: bool


def run(what: Run, work: Work, *, rebuild: bool = False) -> None:
    """Do the work, and end the program with status 1 if something was not indexed.

    Raises:
        OtherConfigError: the collection would have to be made anew, and there is no terminal to
            ask on.

    """
    try:
        _run(what, work, rebuild=rebuild)
    except OtherConfigError as error:
        if rebuild or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        log(flags.message(error))
        question = (
            "Make it anew from all of its folders? Until that is complete, searches answer from "
            "what is there."
        )
        agree(question)
        _run(what, work, rebuild=True)


def _run(what: Run, work: Work, *, rebuild: bool) -> None:
    from jlocal.collection.collection import Collection

    before: dict[str, Folder] = {}
    with Collection(what.database) as collection:
        config = made_with(collection, rebuild=rebuild)
        # Where there is no collection, there are no folders.
        with contextlib.suppress(JlocalError):
            before = collection.folders()
        began = time.monotonic()
        with opened_model(what, collection, config) as model:
            note = functools.partial(log_model, model)
            with index_bar(quiet=what.quiet, before=None if config else note) as on_progress:
                report = work(collection, on_progress, rebuild)
        if report.plan:
            show_plan(report)
        elif not what.quiet:
            log_report(report, what.database, time.monotonic() - began, verbose=what.verbose)
            log_folders(before, collection.folders(), report)
            log_next_step(report, what.database)
    if report.failed:
        log_error(report)
        click.get_current_context().exit(1)


def made_with(collection: Collection, *, rebuild: bool) -> CollectionConfig | None:
    """Say how a collection was made, or is being made anew; None where nothing was indexed."""
    from jlocal.collection.index.rebuild import unfinished

    config = collection.made_with()
    return (unfinished(collection.path) if rebuild else None) or config


@contextlib.contextmanager
def opened_model(
    what: Run, collection: Collection, config: CollectionConfig | None
) -> Iterator[Embedder]:
    """Open the model of a collection, or the one that was named, and have the collection use it."""
    from jlocal.collection.opening import model_file
    from jlocal.models import names

    source = click.get_current_context().get_parameter_source("model")
    model = what.model
    # The model of the environment is a default; that of the collection comes first.
    if config and (model is None or source == ParameterSource.ENVIRONMENT):
        model = str(model_file(config, what.database))
    pooling = config.pooling if config else None
    model = model or names.default_model()
    with open_model(what.task, model, what.compute, pooling=pooling) as embedder:
        collection.use_model(embedder)
        yield embedder
