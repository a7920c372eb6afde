"""Stems of words, which SQLite computes."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest

from jlocal.collection.database.stems import stem

compute = stem.__wrapped__


class InterruptedCall:
    """Raise KeyboardInterrupt at one of the calls into C that a function makes."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.left -= event in ("c_call", "c_return") and argument is not sys.setprofile
        if not self.left:
            sys.setprofile(None)
            raise KeyboardInterrupt


def test_an_interrupt_at_any_moment_does_not_disturb_the_next_words() -> None:
    interrupted = 0
    for number in range(1, 100):
        try:
            sys.setprofile(InterruptedCall(number))
            compute("searching")
        except KeyboardInterrupt:
            interrupted += 1
        else:
            break
        finally:
            sys.setprofile(None)
        assert [compute(word) for word in ("cats", "running", "at")] == ["cat", "run", "at"]
    assert interrupted > 8


def test_threads_compute_stems_at_once() -> None:
    words = [f"{letter}{letter}ing{end}" for letter in "bdfglmnpt" for end in ("", "s", "ly")] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(compute, words)) == list(map(compute, words))


@pytest.mark.parametrize("word", ["", "7", "x", "a" * 10_000])
def test_what_has_no_stem_stays(word: str) -> None:
    assert compute(word) == word
