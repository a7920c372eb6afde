"""Word vectors fitted to the teacher, and the network that averages them exactly.

The vector of a text is the sum of its tokens' vectors, normalised. In the network every token's
vector is a direction, and its length is the weight that attention gives it: in the last layer, V
and O are the identity, and Q and K read two channels of the embedding, in which a token's
logarithm of weight is an angle on the slowest rotary pair. All other blocks add zero, so that
training starts from exactly what the word vectors can do.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from starter.loss import distance
from starter.network import Network, Shape

CHANNELS = 2
# The size of the two channels; all others have a root mean square near 1.
RADIUS = 4.0
PRIOR = 8.0


def fit(
    texts: list[NDArray[np.int32]],
    targets: NDArray[np.float16],
    alone: NDArray[np.float16],
    *,
    epochs: float = 2.0,
    batch: int = 2048,
    rate: float = 0.02,
) -> Tensor:
    """Fit word vectors.

    Args:
        texts: token ids of each text.
        targets: the teacher's vectors in the common basis, (texts, dimensions).
        alone: those of every token by itself, (vocabulary, dimensions).
        epochs: how often each text is seen.
        batch: texts a step.
        rate: Adam's first learning rate; it falls to 0.

    Returns:
        (vocabulary, dimensions) float32.

    """
    vectors = first_guess(texts, targets, alone)
    bags = torch.nn.EmbeddingBag.from_pretrained(vectors, freeze=False, mode="sum")
    batch = min(batch, len(texts))
    steps = max(1, int(epochs * len(texts) / batch))
    optimizer = torch.optim.Adam(bags.parameters(), lr=rate * vectors.std().item())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    random = np.random.default_rng(0)
    for step in range(steps):
        chosen = random.choice(len(texts), batch, replace=False)
        flat = torch.from_numpy(np.concatenate([texts[i] for i in chosen]).astype(np.int64))
        starts = np.cumsum([0] + [len(texts[i]) for i in chosen])[:-1]
        made = functional.normalize(bags(flat, torch.from_numpy(starts)), dim=-1)
        expected = torch.from_numpy(targets[chosen].astype(np.float32))
        loss = distance(made, functional.normalize(expected[:, : made.shape[1]], dim=-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"static: step {step} of {steps}, loss {loss.item():.4f}", flush=True)
    return bags.weight.detach()


def first_guess(
    texts: list[NDArray[np.int32]], targets: NDArray[np.float16], alone: NDArray[np.float16]
) -> Tensor:
    """Each token's mean target minus the mean of all; frequent tokens have less weight.

    `alone` are the teacher's vectors of the tokens by themselves. They have the weight of `PRIOR`
    texts, and so decide for rare tokens.
    """
    vocabulary, width = alone.shape
    sums, counts = torch.zeros(vocabulary, width), torch.zeros(vocabulary)
    for first in range(0, len(texts), 10_000):
        block = texts[first : first + 10_000]
        flat = torch.from_numpy(np.concatenate(block).astype(np.int64))
        sizes = torch.tensor([len(ids) for ids in block])
        expected = torch.from_numpy(targets[first : first + len(block)].astype(np.float32))
        sums.index_add_(0, flat, expected.repeat_interleave(sizes, dim=0))
        counts += torch.bincount(flat, minlength=vocabulary)
    mean = sums.sum(0) / counts.sum()
    prior = torch.from_numpy(alone.astype(np.float32))
    vectors = (sums + PRIOR * prior) / (counts + PRIOR)[:, None] - mean
    share = counts / counts.sum()
    return vectors * (1e-3 / (1e-3 + share))[:, None]


def start(network: Network, vectors: Tensor, end: int) -> None:
    """Make the network the weighted average of `vectors` (vocabulary, hidden - 2)."""
    shape: Shape = network.shape
    width = shape.hidden - CHANNELS
    lengths = vectors.norm(dim=1).clamp_min(1e-6)
    weights = lengths.log()
    low, high = torch.quantile(weights, 0.01), weights.max()
    middle, span = (low + high) / 2, (high - low) / 2 * 1.02
    cosine = ((weights - middle) / span).clamp(-0.999, 0.999)
    with torch.no_grad():
        for layer in network.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        scale = (shape.hidden - RADIUS**2) ** 0.5
        embedding = network.embed_tokens.weight
        embedding[:, :width] = vectors / lengths[:, None] * scale
        embedding[:, width] = RADIUS * cosine
        embedding[:, width + 1] = RADIUS * (1 - cosine**2).sqrt()
        # The end token is the query, and gives itself the lowest weight.
        embedding[end] = 0
        embedding[end, width] = -0.5
        pooling = network.layers[-1].self_attn
        for matrix in (pooling.v_proj, pooling.o_proj):
            matrix.weight.copy_(torch.eye(shape.hidden))
        slow = shape.head_dim // 2 - 1
        pooling.q_proj.weight.zero_()
        pooling.k_proj.weight.zero_()
        for head in range(shape.heads):
            row = head * shape.head_dim + slow
            pooling.q_proj.weight[row, width] = -1
            pooling.k_proj.weight[row, width] = 1
            pooling.k_proj.weight[row + shape.head_dim // 2, width + 1] = 1
        gain = (span / shape.head_dim**0.5) ** 0.5
        pooling.q_norm.weight.fill_(gain)
        pooling.k_norm.weight.fill_(gain)
        network.norm.weight[width:] = 0
