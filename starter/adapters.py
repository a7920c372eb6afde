"""The four adapters: what each is trained on, on the frozen backbone.

All learn from the teacher's vectors; they differ in the texts, the prompts and the loss.

- retrieval: queries among passages. A query is judged by nothing but the passages that it finds,
  so that its prompt can move it to where they are.
- text-matching: sentences among their nearest neighbours, cosines as the teacher has them.
- clustering: short texts to the centres of the teacher's own clusters.
- classification: short texts to the teacher's directions in full.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from starter.batches import Ids
from starter.loss import DIMENSIONS, TEMPERATURE, distance, divergence
from starter.network import Network, adapt
from starter.train import rate

RANK = 16
RATE = 2e-3
Half = NDArray[np.float16]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """Texts and the teacher's vectors of them in the common basis."""

    ids: Ids
    targets: Half

    def embed(self, network: Network, chosen: Rows, *, query: bool) -> Tensor:
        """Embed some texts under one prompt."""
        tokens, ends = self.ids.pad(chosen, np.full(len(chosen), query))
        with torch.autocast("cpu", torch.bfloat16):
            made: Tensor = network(tokens, ends)
        return made

    def wanted(self, chosen: Rows) -> Tensor:
        """Return the teacher's unit vectors of some texts."""
        return functional.normalize(
            torch.from_numpy(self.targets[chosen].astype(np.float32)), dim=-1
        )


Losses = Iterator[Tensor]


def train(network: Network, losses: Callable[[Network], Losses], steps: int, name: str) -> None:
    """Give the network an adapter and train it.

    Args:
        network: the backbone; it is frozen, and its adapter exchanged for a new one.
        losses: yields the loss of batch after batch, without end.
        steps: batches.
        name: for the log.

    """
    torch.manual_seed(0)
    parameters = adapt(network, RANK, RANK)
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate(s, steps))
    begun, seen = time.monotonic(), []
    for step, loss in zip(range(1, steps + 1), losses(network), strict=False):
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        seen.append(loss.item())
        if step % 50 == 0 or step == steps:
            seconds = time.monotonic() - begun
            mean = np.mean(seen[-50:])
            print(f"{name}: step {step} of {steps}, loss {mean:.4f}, {seconds:.0f} s", flush=True)


def retrieval(
    network: Network, lines: Pool, queries: Rows, passages: Pool, *, batch: int = 16
) -> Losses:
    """Yield losses of queries among the passages that the teacher finds near, three for each."""
    near = nearest(lines.targets[queries], passages.targets, 16)
    random = np.random.default_rng(1)
    while True:
        rows = random.choice(len(queries), min(batch, len(queries)), replace=False)
        found = [(near[r][random.integers(3)], *random.choice(near[r][3:], 2, False)) for r in rows]
        documents = np.unique(np.concatenate(found))
        asked = queries[rows]
        q = lines.embed(network, asked, query=True)
        d = passages.embed(network, documents, query=False)
        wanted = passages.wanted(documents)
        scores = lines.wanted(asked) @ wanted.T / TEMPERATURE
        loss = distance(d, wanted, 0.5)
        for size in DIMENSIONS:
            short = functional.normalize(q[:, :size], dim=-1)
            made = short @ functional.normalize(d[:, :size], dim=-1).T / TEMPERATURE
            for m, w in ((made, scores), (made.T, scores.T)):
                aim = functional.log_softmax(w, dim=-1)
                loss = loss + divergence(functional.log_softmax(m, dim=-1), aim) / len(DIMENSIONS)
        yield loss


def text_matching(network: Network, sentences: Pool, *, batch: int = 64) -> Losses:
    """Yield losses of sentences with three neighbours each, every cosine as the teacher has it."""
    near = nearest(sentences.targets, sentences.targets, 12)
    random = np.random.default_rng(2)
    while True:
        rows = random.choice(len(near), min(batch, len(near)), replace=False)
        others = [random.choice(near[row][1:], 3, False) for row in rows]
        texts = np.unique(np.concatenate([rows, *others]))
        made = sentences.embed(network, texts, query=False)
        wanted = sentences.wanted(texts)
        yield distance(made, wanted) + 10 * cosines(made, wanted)


def cosines(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of all cosines between texts, at every Matryoshka dimension."""
    aim = wanted @ wanted.T
    total = made.new_zeros(())
    for size in DIMENSIONS:
        short = functional.normalize(made[:, :size], dim=-1)
        total = total + (short @ short.T - aim).square().mean()
    return total / len(DIMENSIONS)


def clustering(
    network: Network, lines: Pool, chosen: Rows, *, clusters: int = 512, batch: int = 384
) -> Losses:
    """Yield losses of short texts: to the centre of their cluster, away from the others."""
    centres, labels = kmeans(lines.targets[chosen].astype(np.float32), clusters)
    aims = torch.from_numpy(centres)
    random = np.random.default_rng(3)
    while True:
        rows = random.choice(len(chosen), min(batch, len(chosen)), replace=False)
        made = lines.embed(network, chosen[rows], query=False)
        loss = distance(made, lines.wanted(chosen[rows]), 0.5)
        target = torch.from_numpy(labels[rows])
        for size in DIMENSIONS:
            short = functional.normalize(made[:, :size], dim=-1)
            scores = short @ functional.normalize(aims[:, : short.shape[1]], dim=-1).T / TEMPERATURE
            loss = loss + 0.5 * functional.cross_entropy(scores, target) / len(DIMENSIONS)
        yield loss


def classification(network: Network, lines: Pool, chosen: Rows, *, batch: int = 384) -> Losses:
    """Yield losses of short texts: the teacher's directions, all of them counted alike."""
    random = np.random.default_rng(4)
    while True:
        rows = random.choice(len(chosen), min(batch, len(chosen)), replace=False)
        made = lines.embed(network, chosen[rows], query=False)
        wanted = lines.wanted(chosen[rows])
        spread = (made - wanted[:, : made.shape[1]]).square().sum(1).mean()
        yield distance(made, wanted) + spread


def nearest(queries: Half, documents: Half, count: int) -> Rows:
    """Find the `count` documents with the highest cosine, best first."""
    table = torch.from_numpy(documents.astype(np.float32))
    table = functional.normalize(table, dim=-1)
    found = []
    for first in range(0, len(queries), 1024):
        block = torch.from_numpy(queries[first : first + 1024].astype(np.float32))
        found.append((block @ table.T).topk(min(count, len(documents)), dim=1).indices)
    indices: Rows = torch.cat(found).numpy()
    return indices


def kmeans(vectors: NDArray[np.float32], clusters: int) -> tuple[NDArray[np.float32], Rows]:
    """Spherical k-means: unit centres (clusters, dimensions), and the cluster of each vector."""
    random = np.random.default_rng(0)
    clusters = min(clusters, len(vectors))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centres = unit[random.choice(len(unit), clusters, replace=False)]
    for _ in range(12):
        labels = (unit @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, unit)
        empty = ~sums.any(1)
        sums[empty] = unit[random.choice(len(unit), empty.sum())]
        centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return centres, (unit @ centres.T).argmax(1)
