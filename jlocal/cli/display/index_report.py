"""Report a run of `jlocal index`: the model before it, and the results after it."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.cli import flags, output
from jlocal.cli.database import flag
from jlocal.cli.display.quantities import counted, duration, rounded
from jlocal.cli.encodings import log_encodings
from jlocal.cli.options import size_text
from jlocal.excerpts.columns import clipped, wrapped
from jlocal.extras import pip_command
from jlocal.inputs.formats import format_of
from jlocal.printable import printable
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.index.report import Report, Skipped
    from jlocal.embed.embedder import Embedder
    from jlocal.inputs.documents import Unreadable

_FULL_BAR = 16 * "█"
# Fewer tokens do not show the speed, as the first tokens are slow.
_LEAST_TOKENS = 5_000
# As much of a file's name as has room in a sentence.
_NAME = 20
_BROKEN = "broken link"
_NOTHING_TO_READ = {"binary": "not text", "empty": "empty", "link": _BROKEN}
_REASONS = {
    "binary": "not text",
    "special": "not a regular file",
    "link": "a link to what does not exist",
    "empty": "empty",
    "generated": "installed packages or a cache; --no-gitignore takes it",
}


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
    _log(f"Not indexed: {failure.id}: {flags.worded(failure.reason)}")


def log_report(report: Report, database: Path, seconds: float, *, verbose: bool = False) -> None:
    """Log the summary of a run.

    Args:
        report: what the run found and did.
        database: the file of the collection.
        seconds: that the run took.
        verbose: name each file that was skipped.

    """
    if verbose:
        for item in report.skipped:
            _log(f"Skipped: {item.path}: {_reason(item)}")
    if report.files or not report.failed:
        said = " · ".join(_done(report, seconds))
        bar = f"{_FULL_BAR} " if report.new and not report.failed and _shows_blocks() else ""
        _log(f"  {bar}{said}")
    log_encodings(report.encodings, indent="  ")
    for line in _skipped_lines(report):
        _log(f"  {line}")
    if report.kept and (verbose or report.removed):
        verb, them = ("stays", "it") if report.kept == 1 else ("stay", "them")
        _log(
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
        output.line(f"{'skipped':8} {item.path}: {_reason(item)}")
    counts = ", ".join(_counts(report)) or "nothing to do"
    cost = ""
    if plan.passages:
        cost = (
            f"; about {counted(plan.passages, 'new passage')}, {rounded(plan.tokens)} tokens, "
            f"{duration(plan.seconds)} with this model"
        )
    _log(f"Nothing was written. To do: {counts}{cost}.")


def _log(text: str) -> None:
    """Print on stderr; a terminal's lines end between words."""
    if not sys.stderr.isatty():
        log(text)
        return
    said = printable(text).strip()
    indent = "  " if text.startswith(" ") else ""
    for start, end in wrapped(said, shutil.get_terminal_size().columns - len(indent), len(said)):
        log(indent + said[start:end])


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


def _skipped_lines(report: Report) -> Iterator[str]:
    by_reason: dict[str, list[Skipped]] = {}
    for item in report.skipped:
        reason = "binary" if item.reason == "special" else item.reason
        by_reason.setdefault(f"{reason} {item.extra}".rstrip(), []).append(item)
    said = [
        f"{_that(by_reason[reason], name)} ({_first_name(by_reason[reason])})"
        for reason, name in _NOTHING_TO_READ.items()
        if reason in by_reason
    ]
    if said:
        *first, last = said
        yield f"Skipped {', '.join(first)}{' and ' if first else ''}{last}"
    if generated := by_reason.get("generated"):
        folders, it = (
            ("1 folder", "it") if len(generated) == 1 else (f"{len(generated):,} folders", "them")
        )
        yield (
            f"Skipped {folders} of installed packages or caches ({_first_name(generated)}; "
            f"--no-gitignore takes {it})"
        )
    if large := by_reason.get("large"):
        tokens = sum(item.tokens for item in large)
        is_timed = report.tokens >= _LEAST_TOKENS
        time = f", {duration(tokens * report.seconds / report.tokens)}" if is_timed else ""
        it, mark = ("it", ",") if len(large) == 1 else ("them", ";")
        yield (
            f"Skipped {_that(large, 'large')} ({_first_name(large)}{mark} "
            f"{size_text(sum(item.size for item in large))}, {rounded(tokens)} tokens{time}; "
            f"--all takes {it})"
        )
    for items in by_reason.values():
        if extra := items[0].extra:
            counts = Counter(_noun(item.path) for item in items)
            files = ", ".join(counted(count, noun) for noun, count in counts.most_common())
            need = "needs" if len(items) == 1 else "need"
            yield f"{files} {need}: {pip_command(extra)}"


def _noun(path: str) -> str:
    found = format_of(path)
    return found.noun if found else "file"


def _that(items: Sequence[Skipped], what: str) -> str:
    if what == _BROKEN:
        return counted(len(items), _BROKEN)
    return f"{len(items):,} that {'is' if len(items) == 1 else 'are'} {what}"


def _first_name(items: Sequence[Skipped]) -> str:
    name = clipped(printable(Path(items[0].path).name), _NAME)
    return f"{name}, …" if len(items) > 1 else name


def _reason(item: Skipped) -> str:
    if item.reason == "large":
        tokens = f"{rounded(item.tokens)} tokens"
        return f"large ({size_text(item.size)}, {tokens}); --all takes it"
    if item.reason == "extra":
        return f"needs {pip_command(item.extra)}"
    return _REASONS[item.reason]


def _shows_blocks() -> bool:
    encoding = sys.stderr.encoding or "ascii"
    try:
        _FULL_BAR.encode(encoding)
    except UnicodeEncodeError:
        return False
    return sys.stderr.isatty()
