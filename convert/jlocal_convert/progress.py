"""Progress reports of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The progress of one step.

    Attributes:
        file: name of the file, or of several files that are written together.
        done: finished units.
        total: units in all.
        unit: "weights", "tensors", "matrices" or "texts".

    """

    file: str
    done: int
    total: int
    unit: str


OnProgress = Callable[[Progress], None]


def reporter(progress: OnProgress | None, file: str, unit: str) -> Callable[[int, int], None]:
    """Return a function of (done, total) that reports the progress of a file."""

    def report(done: int, total: int) -> None:
        if progress:
            progress(Progress(file, done, total, unit))

    return report
