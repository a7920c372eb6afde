"""Which texts are computed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def plan_waves(
    lengths: Sequence[int], token_budget: int, sequence_limit: int
) -> Iterator[list[int]]:
    """Group texts of like length into waves, the longest first.

    Longest first, a context grows once at most; a text above the budget goes alone.

    Args:
        lengths: tokens in each text.
        token_budget: the most tokens in one wave of several texts.
        sequence_limit: the most texts in one wave.

    Yields:
        Positions in `lengths`; each position once.

    """
    wave: list[int] = []
    tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if wave and (tokens + lengths[position] > token_budget or len(wave) == sequence_limit):
            yield wave
            wave, tokens = [], 0
        wave.append(position)
        tokens += lengths[position]
    if wave:
        yield wave
