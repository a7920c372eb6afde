"""Report a run of `jlocal index`: the model before it, and the results after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.cli import flags, output
from jlocal.cli.database import flag
from jlocal.cli.display.lines import log_wrapped
from jlocal.cli.display.quantities import counted, duration, rounded
from jlocal.cli.display.skipped import reason_of, skipped_lines
from jlocal.cli.encodings import log_encodings
from jlocal.cli.options import size_text
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.index.report import Report
    from jlocal.embed.embedder import Embedder
    from jlocal.inputs.documents import Unreadable

_FULL_BAR = 16 * "█"


def log_model(model: Embedder) -> None:
    """Log the model of a new collection."""
    from jlocal.models import starter

    path = model.profile.path
    size = size_text(path.stat().st_size)
    if path.resolve() == starter.FILE.resolve():
        log(f"  Model: starter (English, {size}). Better, in 100 languages:  jlocal pull small")
    else:
        log(f"  Model: {model.profile.name} ({size})")


def log_failure(failure: Unreadable) -> None:
    """Log a file that was not indexed, and why."""
    log_wrapped(f"Not indexed: {failure.id}: {flags.worded(failure.reason)}")


def log_report(report: Report, database: Path, seconds: float, *, verbose: bool = False) -> None:
    """Log the summary of a run.

    Args:
        report: of the run.
        database: the file of the collection.
        seconds: that the run took.
        verbose: name each file that was skipped.

    """
    if verbose:
        for item in report.skipped:
            log_wrapped(f"Skipped: {item.path}: {reason_of(item)}")
    if report.files or not report.failed:
        said = " · ".join(_done(report, seconds))
        bar = f"{_FULL_BAR} " if report.new and not report.failed and _shows_blocks() else ""
        log_wrapped(f"  {bar}{said}")
    log_encodings(report.encodings, indent="  ")
    for line in skipped_lines(report.skipped, report):
        log_wrapped(f"  {line}")
    if report.kept and (verbose or report.removed):
        verb, them = ("stays", "it") if report.kept == 1 else ("stay", "them")
        log_wrapped(
            f"  Note: {counted(report.kept, 'text')} of removed or changed documents {verb} in the "
            f"collection; jlocal index --compact{flag(database)} deletes {them}."
        )


def log_next_step(report: Report, database: Path) -> None:
    """Log the next command for a collection with new documents, unless an error comes last."""
    if report.new and not report.failed and sys.stderr.isatty():
        log(f"  Next:  jlocal search{flag(database)} your question")


def log_error(report: Report) -> None:
    """Log the number of failures, at the end of the screen."""
    would = "was not" if report.failed == 1 else "were not"
    if report.plan:
        would = "would not be"
    log(f"Error: {counted(report.failed, 'input')} {would} indexed.")


def show_plan(report: Report) -> None:
    """Print the plan of a dry run: its files on standard output, and its cost."""
    plan = report.plan
    assert plan is not None
    for what, paths in (("new", plan.new), ("changed", plan.changed), ("removed", plan.removed)):
        for path in paths:
            output.line(f"{what:8} {path}")
    for item in report.skipped:
        output.line(f"{'skipped':8} {item.path}: {reason_of(item)}")
    counts = ", ".join(_counts(report)) or "nothing to do"
    cost = ""
    if plan.passages:
        cost = (
            f"; about {counted(plan.passages, 'new passage')}, {rounded(plan.tokens)} tokens, "
            f"{duration(plan.seconds)} with this model"
        )
    log_wrapped(f"Nothing was written. To do: {counts}{cost}.")


def _done(report: Report, seconds: float) -> Iterator[str]:
    indexed = report.new + report.changed + report.unchanged
    files = f"{indexed:,} of {counted(report.files, 'file')}"
    is_first = report.new == report.files and not report.removed
    counts = "" if is_first else ", ".join(_counts(report))
    yield f"{files}: {counts}" if counts else files
    if report.embedded:
        yield counted(report.embedded, "passage")
    yield duration(seconds)


def _counts(report: Report) -> list[str]:
    names = ("new", "changed", "unchanged", "removed")
    return [f"{getattr(report, name):,} {name}" for name in names if getattr(report, name)]


def _shows_blocks() -> bool:
    encoding = sys.stderr.encoding or "ascii"
    try:
        _FULL_BAR.encode(encoding)
    except UnicodeEncodeError:
        return False
    return sys.stderr.isatty()
