"""What `jlocal index` shows of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.cli import flags
from jlocal.cli.encodings import say_encodings
from jlocal.progress import say

if TYPE_CHECKING:
    from jlocal.collection.report import Report
    from jlocal.documents import Unreadable


def say_failure(failure: Unreadable) -> None:
    """Name a file that was not indexed, and say why."""
    say(f"Not indexed: {failure.id}: {flags.worded(failure.reason)}")


def say_report(report: Report, database: Path) -> None:
    """Sum up a run.

    Args:
        report: what the run found and did.
        database: the file of the collection.

    """
    counts = ("new", "changed", "unchanged", "removed", "failed")
    said = ", ".join(f"{getattr(report, name):,} {name}" for name in counts)
    say_encodings(report.encodings)
    say(f"{said}; texts embedded: {report.embedded:,}")
    if report.kept:
        texts = "text" if report.kept == 1 else "texts"
        verb, them = ("stays", "it") if report.kept == 1 else ("stay", "them")
        say(
            f"Note: {report.kept:,} {texts} of removed or changed documents {verb} in {database}; "
            f"jlocal index --compact deletes {them}."
        )
