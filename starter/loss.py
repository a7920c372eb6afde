"""The loss: the teacher's directions, and its similarities of the texts in a batch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

DIMENSIONS = (32, 64, 128, 256)
TEMPERATURE = 0.05


def distance(made: Tensor, wanted: Tensor, similarity: float = 1.0) -> Tensor:
    """Mean over the Matryoshka dimensions of 1 - cosine and of the divergence of similarities.

    Args:
        made: unit vectors of the network, (batch, hidden).
        wanted: unit vectors of the teacher in the common basis, (batch, dimensions >= hidden).
        similarity: weight of the divergence.

    """
    target = neighbours(wanted)
    total = made.new_zeros(())
    for dimension in DIMENSIONS:
        short = functional.normalize(made[:, :dimension], dim=-1)
        aim = functional.normalize(wanted[:, : short.shape[1]], dim=-1)
        total = total + (1 - (short * aim).sum(1)).mean()
        total = total + similarity * divergence(neighbours(short), target)
    return total / len(DIMENSIONS)


def neighbours(vectors: Tensor) -> Tensor:
    """Logarithms of each text's distribution over the others of the batch."""
    scores = vectors @ vectors.T / TEMPERATURE
    scores.fill_diagonal_(-1e4)
    return functional.log_softmax(scores, dim=-1)


def divergence(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of rows of logarithms."""
    return functional.kl_div(made, wanted, log_target=True, reduction="batchmean")
