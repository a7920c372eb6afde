"""Trials: files are written and measured until one reaches the target size or loss."""

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

# Bytes for the importance matrix's metadata, which llama.cpp writes into the file.
_DESCRIPTION = 1024
_MOST = 8
# The fraction of the allowed loss that may stay unused.
_SLACK = 0.03


@dataclass(frozen=True)
class Trial:
    """A written file: its mix, its size in bytes, and 1 - cosine of each held-out text."""

    mix: Mix
    size: int
    losses: Doubles

    @property
    def loss(self) -> float:
        """Mean of 1 - cosine."""
        return float(self.losses.mean())


@dataclass(frozen=True)
class Trials:
    """The choices of a search, and the functions that try a mix.

    Attributes:
        choices: the choices of each matrix.
        attempt: writes a file and measures it.
        keep: keeps the file that was written last, in place of the file that was kept before.

    """

    choices: Choices
    attempt: Callable[[Mix], Trial]
    keep: Callable[[], None]

    def of_size(self, limit: int, rest: int) -> Trial:
        """Keep the best file of at most `limit` bytes.

        Args:
            limit: the most bytes of the file.
            rest: the approximate size of the parts that no choice changes, in bytes.

        Raises:
            ArgumentError: every file is larger.
            ModelError: llama.cpp writes larger files than planned.

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
        """Keep the smallest tried file whose mean of 1 - cosine is at most `limit`.

        The predicted loss of a mix ignores that llama.cpp also rounds the inputs of a quantised
        matrix, and that losses add up only approximately. So each measured loss corrects the next
        aim.

        Raises:
            ArgumentError: every file loses more.

        """
        ideal, least = best(self.choices), smallest(self.choices)
        aim, low, high = limit, 0.0, math.inf  # `low` was low enough, `high` too high
        kept: Trial | None = None
        tried: dict[int, Trial] = {}  # by planned size
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
                f"{size_text(trial.size)}, has {1 - trial.loss:.6f}",
                argument="cosine",
            )
        self.keep()
        return trial


def _next(aim: float, low: float, high: float) -> float:
    """Return the next aim: the estimate if it lies in the bracket, or else a bisection of it."""
    if low < aim < high:
        return aim
    if math.isinf(high):
        return 2 * low
    return math.sqrt(low * high) if low else high / 4


def too_small(limit: int, least: int) -> ArgumentError:
    """Return the error for a limit below the smallest possible size."""
    return ArgumentError(
        f"no mix of these types fits into {size_text(limit)}; the smallest takes "
        f"{size_text(least)}",
        argument="size",
    )


def size_text(size: int) -> str:
    """Return a size in megabytes as text."""
    return f"{size / 1e6:,.2f} MB"
