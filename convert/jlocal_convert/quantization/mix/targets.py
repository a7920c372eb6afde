"""Writing files by a plan until one is measured to be what was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from jlocal.errors import ArgumentError, ModelError
from jlocal.vectors import Doubles
from jlocal_convert.quantization.mix.assignment import (
    Choices,
    Mix,
    best,
    for_loss,
    for_size,
    smallest,
)

# llama.cpp writes into the file what the importance matrix was made from.
_DESCRIPTION = 1024
_MOST = 8
# So much of the loss that is allowed need not be used.
_SLACK = 0.03


@dataclass(frozen=True)
class Trial:
    """A file that was written: its mix, its size in bytes, 1 - cosine of each held-out text."""

    mix: Mix
    size: int
    losses: Doubles

    @property
    def loss(self) -> float:
        """Mean of 1 - cosine."""
        return float(self.losses.mean())


@dataclass(frozen=True)
class Trials:
    """What is chosen from, and how a choice is tried.

    Attributes:
        choices: of each matrix.
        attempt: writes a file and measures it.
        keep: keeps the file that was written last, instead of the one that was kept before.

    """

    choices: Choices
    attempt: Callable[[Mix], Trial]
    keep: Callable[[], None]

    def of_size(self, limit: int, rest: int) -> Trial:
        """Keep the best file of at most `limit` bytes.

        Args:
            limit: bytes of the file.
            rest: about how many of them are not to be chosen.

        Raises:
            ArgumentError: no file is so small.
            ModelError: llama.cpp writes files larger than they should be.

        """
        margin = _DESCRIPTION
        for _ in range(_MOST):
            mix = for_size(self.choices, limit - rest - margin) or for_size(
                self.choices, limit - rest
            )
            if mix is None:
                raise too_small(limit, smallest(self.choices).size + rest)
            trial = self.attempt(mix)
            if trial.size <= limit:
                self.keep()
                return trial
            rest, margin = trial.size - mix.size, 0
        raise ModelError("llama.cpp writes larger files than their tensors account for")

    def of_loss(self, limit: float) -> Trial:
        """Keep the smallest file found that loses at most `limit`, the mean of 1 - cosine.

        A plan's loss leaves out that llama.cpp also rounds what is multiplied with a quantised
        matrix, and that losses add up only nearly. So what is aimed at is corrected by what a file
        is measured to lose.

        Raises:
            ArgumentError: all files lose more.

        """
        ideal, least = best(self.choices), smallest(self.choices)
        aim, low, high = limit, 0.0, math.inf  # and aims that were low enough, and too high
        kept: Trial | None = None
        tried: dict[int, Trial] = {}  # by the size that was planned
        while len(tried) < _MOST and high > (1 + _SLACK / 2) * low:
            mix = for_loss(self.choices, aim) or ideal
            if mix.size not in tried:
                trial = tried[mix.size] = self.attempt(mix)
                if trial.loss <= limit and (kept is None or trial.size < kept.size):
                    kept = trial
                    self.keep()
            loss = tried[mix.size].loss
            if loss <= limit:
                low = aim
                if loss >= (1 - _SLACK) * limit or mix.size == least.size:
                    break
            elif mix.size == ideal.size:
                break
            else:
                high = aim
            aim = _next(aim * (limit / loss if loss else math.inf) * (1 - _SLACK / 2), low, high)
        return kept or self._best(ideal, tried.get(ideal.size), limit)

    def _best(self, ideal: Mix, tried: Trial | None, limit: float) -> Trial:
        trial = tried or self.attempt(ideal)
        if trial.loss > limit:
            raise ArgumentError(
                f"no mix of these types keeps a mean cosine of {1 - limit:.9g}; the best, of "
                f"{size_text(trial.size)}, has {1 - trial.loss:.6f}"
            )
        self.keep()
        return trial


def _next(aim: float, low: float, high: float) -> float:
    """Return what to aim at: what seems right, if it lies between, or else what lies between."""
    if low < aim < high:
        return aim
    if math.isinf(high):
        return 2 * low
    return math.sqrt(low * high) if low else high / 4


def too_small(limit: int, least: int) -> ArgumentError:
    """Return the error to raise where `least` bytes are more than may be used."""
    return ArgumentError(
        f"no mix of these types fits into {size_text(limit)}; the smallest takes {size_text(least)}"
    )


def size_text(size: int) -> str:
    """Write a size for people."""
    return f"{size / 1e6:,.2f} MB"
