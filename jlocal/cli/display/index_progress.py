"""The bar of `jlocal index`: files, speed, the time left, and the file in hand."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jlocal.cli.display.quantities import counted, duration
from jlocal.excerpts.columns import clipped_left
from jlocal.printable import printable
from jlocal.progress import log, make_bar

if TYPE_CHECKING:
    from jlocal.collection.index.report import OnProgress, Progress

_BAR = "  {bar:16} {desc}"
# Said before a run that takes longer, once its speed has been seen for some seconds.
_LONG, _SEEN = 180.0, 8.0
# A shorter part of a file's name would be useless.
_LEAST_NAME = 8


@contextmanager
def index_bar(
    *, quiet: bool, before: Callable[[], None] | None = None
) -> Iterator[OnProgress | None]:
    """Show progress on a terminal, cleared at the end; announce the time of a long run.

    Args:
        quiet: show nothing.
        before: called once, when the run has begun.

    """
    if quiet:
        yield None
        return
    screen = _Screen(before, is_terminal=sys.stderr.isatty())
    try:
        yield screen.show
    except KeyboardInterrupt:
        screen.close()
        screen.say_interrupted()
        raise
    finally:
        screen.close()


class _Screen:
    def __init__(self, before: Callable[[], None] | None, *, is_terminal: bool) -> None:
        self._before, self._is_terminal = before, is_terminal
        self._bar: Any = None
        self._last: Progress | None = None
        self._is_announced = False

    def show(self, progress: Progress) -> None:
        if self._last is None and self._before:
            self._before()
        self._last = progress
        self._announce(progress)
        if not self._is_terminal:
            return
        if self._bar is None:
            self._bar = make_bar(total=progress.total or None, bar_format=_BAR)
        bar = self._bar
        bar.total, bar.n = progress.total or None, progress.files
        columns = shutil.get_terminal_size().columns - 20
        bar.set_description_str(_described(progress, columns), refresh=False)
        bar.refresh()

    def close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def say_interrupted(self) -> None:
        last = self._last
        if last and last.total:
            files = counted(last.total, "file")
            log(f"{last.files:,} of {files} done and kept; the same command goes on from there.")

    def _announce(self, progress: Progress) -> None:
        left = progress.seconds_left
        if self._is_announced or left is None or progress.seconds < _SEEN:
            return
        self._is_announced = True
        if left > _LONG:
            files = counted(progress.total - progress.files, "file")
            log(f"  This takes about {duration(left)} more ({files} left).")
            log("  Ctrl-C keeps what is done, and the same command goes on from there.")


def _described(progress: Progress, columns: int) -> str:
    """Describe progress in one line; the file's name gets the columns left over."""
    if not progress.total:
        return f"{counted(progress.files, 'file')} found" if progress.files else ""
    parts = [f"{progress.files:,} of {counted(progress.total, 'file')}"]
    if progress.tokens_per_second:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    said = " · ".join(parts)
    room = columns - len(said) - 3
    if not progress.path or room < _LEAST_NAME:
        return said
    return f"{said} · {clipped_left(printable(os.path.relpath(progress.path)), room)}"
