"""Which type each matrix of a model gets: the least loss in so many bytes, or the reverse.

Each matrix has a few choices, each with a size and a loss; sizes and losses add up. That is the
multiple-choice knapsack problem. Its sizes have a large common divisor here, so that the exact
answer takes a table of a few thousand cells for each matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# More cells than this round sizes up, by less than a part in so many of what there is to spend.
_CELLS = 1 << 16


@dataclass(frozen=True)
class Choice:
    """A type that a matrix may get: its size in bytes, and what is lost with it."""

    tensor_type: str
    size: int
    loss: float


@dataclass(frozen=True)
class Mix:
    """A type for each matrix.

    Attributes:
        tensor_types: by name of the matrix.
        size: bytes of all of them together.
        loss: the sum of their losses.

    """

    tensor_types: Mapping[str, str]
    size: int
    loss: float


Choices = Mapping[str, Sequence[Choice]]


def smallest(choices: Choices) -> Mix:
    """Return the mix of the fewest bytes; among equal ones, of the least loss."""
    return _mix({name: min(row, key=lambda c: (c.size, c.loss)) for name, row in choices.items()})


def best(choices: Choices) -> Mix:
    """Return the mix of the least loss; among equal ones, of the fewest bytes."""
    return _mix({name: min(row, key=lambda c: (c.loss, c.size)) for name, row in choices.items()})


def for_size(choices: Choices, limit: int) -> Mix | None:
    """Return the mix of the least loss in at most `limit` bytes; None if nothing is so small."""
    spare = limit - smallest(choices).size
    return _Table(choices, spare).cheapest() if spare >= 0 else None


def for_loss(choices: Choices, limit: float) -> Mix | None:
    """Return the smallest mix that loses at most `limit`; None if everything loses more."""
    ideal = best(choices)
    if ideal.loss > limit:
        return None
    # Rounding in the table may not make the ideal mix unaffordable.
    table = _Table(choices, ideal.size - smallest(choices).size)
    return table.cheapest(limit) or ideal


def _mix(chosen: Mapping[str, Choice]) -> Mix:
    return Mix(
        {name: choice.tensor_type for name, choice in chosen.items()},
        sum(choice.size for choice in chosen.values()),
        math.fsum(choice.loss for choice in chosen.values()),
    )


class _Table:
    """The least loss for every number of bytes above the smallest mix, in steps.

    With rounded sizes what it finds fits, and is the best of what fits by the rounded ones.
    """

    def __init__(self, choices: Choices, spare: int) -> None:
        """Fill the table.

        Args:
            choices: of each matrix, at least one.
            spare: bytes above the smallest mix, at least 0.

        """
        self._choices = choices
        least = {name: min(choice.size for choice in row) for name, row in choices.items()}
        extras = {c.size - least[name] for name, row in choices.items() for c in row}
        common = math.gcd(*extras) or 1
        step = common * -(-spare // (common * _CELLS)) or common
        cells = spare // step + 1
        self._costs = {
            name: [-(-(choice.size - least[name]) // step) for choice in row]
            for name, row in choices.items()
        }
        self._taken: dict[str, npt.NDArray[np.uint8]] = {}
        losses = np.zeros(cells)
        for name, row in choices.items():
            losses, self._taken[name] = self._with(losses, row, self._costs[name])
        self._losses = losses

    @staticmethod
    def _with(
        losses: npt.NDArray[np.float64], row: Sequence[Choice], costs: Sequence[int]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Add a matrix: the least loss in each cell, and which of its choices gives that."""
        least = np.full_like(losses, np.inf)
        taken = np.zeros(len(losses), np.uint8)
        for number, (choice, cost) in enumerate(zip(row, costs, strict=True)):
            if cost < len(losses):
                sums = losses[: len(losses) - cost] + choice.loss
                better = sums < least[cost:]
                least[cost:][better] = sums[better]
                taken[cost:][better] = number
        return least, taken

    def cheapest(self, limit: float = math.inf) -> Mix | None:
        """Return the smallest mix that loses at most `limit`, or, where there is none, the least.

        None if a finite limit cannot be kept.
        """
        requested = self._losses[-1] if math.isinf(limit) else limit
        found = np.flatnonzero(self._losses <= requested)
        if not len(found):
            return None
        cell = int(found[0])
        chosen: dict[str, Choice] = {}
        for name in reversed(list(self._choices)):
            number = int(self._taken[name][cell])
            chosen[name] = self._choices[name][number]
            cell -= self._costs[name][number]
        return _mix({name: chosen[name] for name in self._choices})
