"""The choice between threads within a batch and batches side by side; it knows no llama.cpp.

llama.cpp's threads wait for each other after each operation, hundreds of times for a batch, and a
small model has little to compute in between. When other programs use the cores, all wait for a
thread that is not running. Batches side by side, each on a thread, do not wait; but each needs a
context, and reads all weights by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jlocal.gguf.header import Header
from jlocal.llama.wide import in_layer

# Larger models gain little, and their contexts take much memory.
_MOST_WEIGHTS = 50_000_000

# A batch with fewer products of a weight and a token is computed sooner on one thread.
_LONE_PRODUCTS = 250_000_000

# The fixed cost of a run is that of about 85 million products; a share must save more.
_LEAST_PRODUCTS = 125_000_000


@dataclass(frozen=True)
class SideBySide:
    """How a scheduler shares the threads.

    Attributes:
        contexts: how many contexts of one thread it has; 0 where all threads compute each batch.
        lone_tokens: how many tokens a lone batch may have to be computed on one thread.
        least_share: the fewest tokens for which a batch is shared out among idle contexts.

    """

    contexts: int = 0
    lone_tokens: int = 0
    least_share: int = 1


def choose_side_by_side(header: Header, threads: int, wanted: bool | None = None) -> SideBySide:
    """Choose by the weights that each token passes.

    Args:
        header: the header of the model's file.
        threads: CPU threads.
        wanted: whether batches shall be computed side by side; None chooses.

    """
    weights = sum(math.prod(tensor.shape) for tensor in header.tensors if in_layer(tensor))
    if wanted is None:
        wanted = weights <= _MOST_WEIGHTS
    if threads < 2 or not wanted:
        return SideBySide()
    weights = max(1, weights)
    return SideBySide(threads, _LONE_PRODUCTS // weights, max(1, _LEAST_PRODUCTS // weights))
