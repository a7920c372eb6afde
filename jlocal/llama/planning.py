"""Which sequences are computed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Attention looks at every cell of a batch, also at other sequences' (masked) ones, so that more
# tokens in a batch cost more a token; fewer fill the matrix products worse.
TOKEN_BUDGET = 512

# More sequences in a batch than this gain nothing, and each costs a row of logits.
SEQUENCE_LIMIT = 64


def plan_batches(
    lengths: Sequence[int], token_budget: int, sequence_limit: int
) -> Iterator[list[int]]:
    """Group sequences of like length into batches, the longest first.

    Longest first, a context grows once at most; a sequence above the budget goes alone.

    Args:
        lengths: tokens in each sequence.
        token_budget: the most tokens in one batch of several sequences.
        sequence_limit: the most sequences in one batch.

    Yields:
        Positions in `lengths`; each position once.

    """
    batch: list[int] = []
    tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (tokens + lengths[position] > token_budget or len(batch) == sequence_limit):
            yield batch
            batch, tokens = [], 0
        batch.append(position)
        tokens += lengths[position]
    if batch:
        yield batch


def fits_one_batch(lengths: Sequence[int]) -> bool:
    """Tell whether sequences make a single batch."""
    return len(lengths) <= 1 or (sum(lengths) <= TOKEN_BUDGET and len(lengths) <= SEQUENCE_LIMIT)
