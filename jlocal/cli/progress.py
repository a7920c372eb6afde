"""A bar on stderr for the work of `convert`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jlocal.printable import printable
from jlocal.progress import make_bar

if TYPE_CHECKING:
    from jlocal_convert.progress import OnProgress, Progress


@contextmanager
def progress_bar(*, show: bool) -> Iterator[OnProgress | None]:
    """Show the current file, its rate and the time left on stderr; cleared at the end."""
    if not show:
        yield None
        return
    bar: Any = None

    def on_progress(step: Progress) -> None:
        nonlocal bar
        if bar is None or bar.desc != printable(step.file):
            if bar is not None:
                bar.close()
            scale = step.unit == "weights"
            bar = make_bar(step.file, total=step.total, unit=f" {step.unit}", unit_scale=scale)
        bar.update(step.done - bar.n)
        if step.done == step.total:
            bar.close()
            bar = None

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.close()
