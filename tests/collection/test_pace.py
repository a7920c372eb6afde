"""The time left: told once there is a basis for it, by bytes and not by files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from jlocal.collection.index.folders import Folder
from jlocal.collection.index.pace import Pace
from jlocal.collection.index.survey import Candidate


def candidate(name: str, size: int, *, folder: Folder | None = None) -> Candidate:
    return Candidate(
        Path(name), name, "", size, "", None,
        is_as_known=False, is_named=False, folder=folder or Folder(),
    )  # fmt: skip


def estimates(sizes: list[int], speed: float) -> list[tuple[float, float | None]]:
    """Simulate a run at a given rate; return the true time left and its estimate every 2 s."""
    now = 0.0
    files = [candidate(f"{number}.md", size) for number, size in enumerate(sizes)]
    pace = Pace(files, lambda: now)
    # The first texts take longer than all others.
    now, marked, told = 4.0, 0.0, []
    end = now + sum(sizes) / speed
    for file in files:
        now += file.size / speed
        pace.finish(file)
        if now - marked >= 2:
            marked = now
            pace.mark()
            told.append((end - now, pace.seconds_left()))
    return told


@pytest.mark.parametrize("order", ["short first", "long first", "mixed"])
def test_the_time_left_is_near_the_truth_once_it_is_told(order: str) -> None:
    random.seed(1)
    sizes = [500] * 400 + [60_000] * 20
    if order == "long first":
        sizes.reverse()
    elif order == "mixed":
        random.shuffle(sizes)
    told = estimates(sizes, speed=10_000)
    assert told[0][1] is None
    known = [(real, said) for real, said in told if said is not None]
    assert len(known) > len(told) / 2
    for real, said in known:
        assert abs(said - real) < 0.15 * real + 6


def test_a_file_that_will_be_skipped_is_no_work() -> None:
    note, log = candidate("a.md", 1_000), candidate("server.log", 5_000_000)
    asked_for = candidate("server.log", 5_000_000, folder=Folder(large=True))

    def seconds_left(large: Candidate) -> float | None:
        now = 0.0
        pace = Pace([note] * 9 + [large], lambda: now)
        for _ in range(8):
            now += 1
            pace.finish(note)
            pace.mark()
        return pace.seconds_left()

    assert seconds_left(log) == pytest.approx(1, abs=0.5)
    assert seconds_left(asked_for) == pytest.approx(5_001, rel=0.1)
