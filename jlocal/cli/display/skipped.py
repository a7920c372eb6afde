"""Report the files that a run skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.cli.display.quantities import counted, duration, rounded
from jlocal.cli.options import size_text
from jlocal.excerpts.columns import clipped
from jlocal.extras import pip_command
from jlocal.inputs.formats import format_of
from jlocal.printable import printable

if TYPE_CHECKING:
    from jlocal.collection.index.report import Report, Skipped

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


def skipped_lines(skipped: Sequence[Skipped], report: Report | None = None) -> Iterator[str]:
    """Yield sentences that count the skipped files by reason.

    Args:
        skipped: the files.
        report: of the run, which tells how long large files would take.

    """
    by_reason: dict[str, list[Skipped]] = {}
    for item in skipped:
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
        time = ""
        if report and report.tokens >= _LEAST_TOKENS:
            time = f", {duration(tokens * report.seconds / report.tokens)}"
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


def reason_of(item: Skipped) -> str:
    """Return why a file was skipped."""
    if item.reason == "large":
        tokens = f"{rounded(item.tokens)} tokens"
        return f"large ({size_text(item.size)}, {tokens}); --all takes it"
    if item.reason == "extra":
        return f"needs {pip_command(item.extra)}"
    return _REASONS[item.reason]


def _noun(path: str) -> str:
    format = format_of(path)
    return format.noun if format else "file"


def _that(items: Sequence[Skipped], what: str) -> str:
    if what == _BROKEN:
        return counted(len(items), _BROKEN)
    return f"{len(items):,} that {'is' if len(items) == 1 else 'are'} {what}"


def _first_name(items: Sequence[Skipped]) -> str:
    name = clipped(printable(Path(items[0].path).name), _NAME)
    return f"{name}, …" if len(items) > 1 else name
