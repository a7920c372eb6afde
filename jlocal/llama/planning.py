"""Plans of batches by the lengths of sequences; it knows no tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jlocal.llama.features import Device

# Attention visits every cell of a batch, even the masked cells of other sequences, so that more
# tokens in a batch cost more per token; fewer tokens use the matrix products worse.
_ON_CPU = 512

# On a GPU, each graph has a fixed cost of launches, about 2.5 ms for small. But llama.cpp fills the
# mask of a batch on the CPU, which takes about 1 ns for each pair of tokens: 4,096 are slower.
_ON_GPU = 2048

# More sequences in a batch than this gain nothing, and each costs a row of logits.
SEQUENCE_LIMIT = 64


def token_budget(device: Device) -> int:
    """Return the most tokens in a batch of several sequences, and in a piece of a long one."""
    return _ON_GPU if device == "gpu" else _ON_CPU


def plan_batches(
    lengths: Sequence[int], token_budget: int, sequence_limit: int
) -> Iterator[list[int]]:
    """Group sequences of similar length into batches, the longest first.

    With the longest first, a context grows at most once. A sequence above the budget is a batch
    of its own.

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


def fits_one_batch(lengths: Sequence[int], token_budget: int) -> bool:
    """Tell whether sequences of these lengths fit into one batch."""
    return len(lengths) <= 1 or (sum(lengths) <= token_budget and len(lengths) <= SEQUENCE_LIMIT)


def even_shares(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Share out sequences evenly by their tokens.

    Each goes to the share that has the fewest tokens so far (Graham's list scheduling, 1966).

    Args:
        lengths: tokens in each sequence; evenest if the longest come first.
        count: the most shares.

    Returns:
        Positions in `lengths`, for each share in their order; no share is empty.

    """
    shares: list[list[int]] = [[] for _ in range(max(1, min(count, len(lengths))))]
    tokens = [0] * len(shares)
    for position, length in enumerate(lengths):
        least = tokens.index(min(tokens))
        shares[least].append(position)
        tokens[least] += length
    return shares
