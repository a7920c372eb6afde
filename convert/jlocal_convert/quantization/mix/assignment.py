"""The assignment of types to matrices: the least loss within a size, or the reverse.

Each matrix has a few choices, each with a size and a loss; sizes and losses add up. This is the
multiple-choice knapsack problem. The sizes have a large common divisor here, so that the exact
solution takes a table of a few thousand cells for each matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The most cells of a table. Where more would be needed, sizes are rounded up, by less than this
# fraction of the spare bytes.
_CELLS = 1 << 16


@dataclass(frozen=True)
class Choice:
    """A type that a matrix may get: its size in bytes, and its loss."""

    tensor_type: str
    size: int
    loss: float


@dataclass(frozen=True)
class Mix:
    """A type for each matrix.

    Attributes:
        tensor_types: types by name of the matrix.
        size: bytes of all matrices together.
        loss: the sum of their losses.

    """

    tensor_types: Mapping[str, str]
    size: int
    loss: float


Choices = Mapping[str, Sequence[Choice]]


def smallest(choices: Choices) -> Mix:
    """Return the mix of the fewest bytes; of equal mixes, the one of the least loss."""
    return _mix({name: min(row, key=lambda c: (c.size, c.loss)) for name, row in choices.items()})


def best(choices: Choices) -> Mix:
    """Return the mix of the least loss; of equal mixes, the one of the fewest bytes."""
    return _mix({name: min(row, key=lambda c: (c.loss, c.size)) for name, row in choices.items()})


def for_size(choices: Choices, limit: int) -> Mix | None:
    """Return the mix of the least loss in at most `limit` bytes; None if every mix is larger."""
    spare = limit - smallest(choices).size
    return _Table(choices, spare).cheapest() if spare >= 0 else None


def for_loss(choices: Choices, limit: float) -> Mix | None:
    """Return the smallest mix that loses at most `limit`; None if every mix loses more."""
    ideal = best(choices)
    if ideal.loss > limit:
        return None
    # Rounding in the table must not exclude the ideal mix.
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

    With rounded sizes, its mix fits, and is the best mix that fits by the rounded sizes.
    """

    def __init__(self, choices: Choices, spare: int) -> None:
        """Fill the table.

        Args:
            choices: the choices of each matrix, at least one.
            spare: bytes above the smallest mix, at least 0.

        """
        self._choices = choices
        smallest = {name: min(choice.size for choice in row) for name, row in choices.items()}
        extras = {c.size - smallest[name] for name, row in choices.items() for c in row}
        common = math.gcd(*extras) or 1
        step = common * -(-spare // (common * _CELLS)) or common
        cells = spare // step + 1
        self._costs = {
            name: [-(-(choice.size - smallest[name]) // step) for choice in row]
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
        """Add a matrix: return the least loss in each cell, and the number of its choice."""
        lowest = np.full_like(losses, np.inf)
        taken = np.zeros(len(losses), np.uint8)
        for number, (choice, cost) in enumerate(zip(row, costs, strict=True)):
            if cost < len(losses):
                sums = losses[: len(losses) - cost] + choice.loss
                better = sums < lowest[cost:]
                lowest[cost:][better] = sums[better]
                taken[cost:][better] = number
        return lowest, taken

    def cheapest(self, limit: float = math.inf) -> Mix | None:
        """Return the smallest mix that loses at most `limit`; None if there is none.

        An infinite limit stands for the least loss in the table.
        """
        requested = self._losses[-1] if math.isinf(limit) else limit
        cells = np.flatnonzero(self._losses <= requested)
        if not len(cells):
            return None
        cell = int(cells[0])
        chosen: dict[str, Choice] = {}
        for name in reversed(list(self._choices)):
            number = int(self._taken[name][cell])
            chosen[name] = self._choices[name][number]
            cell -= self._costs[name][number]
        return _mix({name: chosen[name] for name in self._choices})
