"""How far a run is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes:
        file: name of the file, or of several that are written together.
        done: out of `total`.
        total: in `unit`.
        unit: "weights", "tensors", "matrices" or "texts".

    """

    file: str
    done: int
    total: int
    unit: str


OnProgress = Callable[[Progress], None]


def reporter(progress: OnProgress | None, file: str, unit: str) -> Callable[[int, int], None]:
    """Return a function of (done, total) that says so of this file, where somebody listens."""

    def report(done: int, total: int) -> None:
        if progress:
            progress(Progress(file, done, total, unit))

    return report
