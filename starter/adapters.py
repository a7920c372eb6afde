"""The four adapters: what each is trained on, on the frozen backbone.

All learn from the teacher's vectors; they differ in the texts, the prompts and the loss.

- retrieval: queries among passages. The loss of a query depends only on the passages that it
  finds, so its prompt may move it towards them.
- text-matching: sentences among their nearest neighbours, with the teacher's cosines.
- classification: likewise, with short utterances and questions about one subject.
- clustering: as classification, and towards the centres of the teacher's own clusters.
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
from starter.train import LONG_RUN, rate

RANK = 16
RATE = 2e-3
# Every batch of a kind has one shape, which a compiled network is fast at: texts of so many tokens
# at most, and passages as (how many, more than, at most).
SHORT = 32
SENTENCE = 48
PASSAGES = ((48, 0, 192), (28, 96, 320))
Half = NDArray[np.float16]
Rows = NDArray[np.int64]
Embed = Callable[[Tensor, Tensor], Tensor]
Losses = Iterator[Tensor]


@dataclass(frozen=True)
class Pool:
    """Texts and the teacher's vectors of them in the common basis."""

    ids: Ids
    targets: Half

    def __len__(self) -> int:
        return len(self.ids)

    def embed(self, network: Embed, chosen: Rows, *, query: bool, width: int = 0) -> Tensor:
        """Embed some texts under one prompt, padded to `width` tokens at least."""
        tokens, ends = self.ids.pad(chosen, np.full(len(chosen), query), width)
        with torch.autocast("cpu", torch.bfloat16):
            made: Tensor = network(tokens, ends)
        return made

    def teacher_vectors(self, chosen: Rows) -> Tensor:
        """Return the teacher's unit vectors of some texts."""
        return functional.normalize(
            torch.from_numpy(self.targets[chosen].astype(np.float32)), dim=-1
        )

    def select(self, chosen: Rows) -> Pool:
        """Return a pool of some of the texts."""
        return Pool(self.ids.select(chosen), self.targets[chosen])

    def with_lengths(self, most: int, least: int = 0) -> Pool:
        """Return a pool of the texts with more than `least` and at most `most` tokens."""
        lengths = self.ids.lengths
        return self.select(np.flatnonzero((lengths > least) & (lengths <= most)))

    def followed_by(self, other: Pool) -> Pool:
        """Return these texts, then the others."""
        targets = np.concatenate([self.targets, other.targets])
        return Pool(self.ids.followed_by(other.ids), targets)


def train(network: Network, losses: Callable[[Embed], Losses], steps: int, name: str) -> None:
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
    embed = torch.compile(network, dynamic=False) if steps >= LONG_RUN else network
    begun, seen = time.monotonic(), []
    for step, loss in zip(range(1, steps + 1), losses(embed), strict=False):
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


def retrieval(network: Embed, kinds: list[tuple[Pool, Pool]]) -> Losses:
    """Yield losses of queries among passages, of each kind of queries and passages in turn."""
    turns = [
        among(
            network,
            queries.with_lengths(SHORT),
            passages.with_lengths(most, least),
            count,
            most,
            seed,
        )
        for count, least, most in PASSAGES
        for seed, (queries, passages) in enumerate(kinds, start=most)
    ]
    while True:
        for losses in turns:
            yield next(losses)


def among(
    network: Embed, queries: Pool, passages: Pool, count: int, width: int, seed: int
) -> Losses:
    """Yield losses of queries among `count` passages, of which some are near to each query."""
    near = nearest(queries.targets, passages.targets, 16)
    random = np.random.default_rng(seed)
    while True:
        asked = random.choice(len(queries), min(24, len(queries)), replace=False)
        neighbours = [
            (near[q][random.integers(2)], *random.choice(near[q][2:], 2, False)) for q in asked
        ]
        documents = filled(np.concatenate(neighbours), count, len(passages), random)
        q = queries.embed(network, asked, query=True, width=SHORT)
        d = passages.embed(network, documents, query=False, width=width)
        targets = passages.teacher_vectors(documents)
        scores = queries.teacher_vectors(asked) @ targets.T / TEMPERATURE
        loss = distance(d, targets, 0.5)
        for size in DIMENSIONS:
            short = functional.normalize(q[:, :size], dim=-1)
            made = short @ functional.normalize(d[:, :size], dim=-1).T / TEMPERATURE
            for m, w in ((made, scores), (made.T, scores.T)):
                aim = functional.log_softmax(w, dim=-1)
                loss = loss + divergence(functional.log_softmax(m, dim=-1), aim) / len(DIMENSIONS)
        yield loss


def matching(
    network: Embed, texts: Pool, width: int, clusters: int = 0, *, batch: int = 224
) -> Losses:
    """Yield losses of texts with three neighbours each, every cosine as the teacher has it.

    With `clusters`, also of each text to the centre of its cluster, away from the others. Texts of
    more than `width` tokens are left out.
    """
    pool = texts.with_lengths(width)
    near = nearest(pool.targets, pool.targets, 12)
    random = np.random.default_rng(2)
    if clusters:
        centres, labels = kmeans(pool.targets.astype(np.float32), clusters)
    while True:
        rows = random.choice(len(pool), min(batch // 4, len(pool)), replace=False)
        others = [random.choice(near[row][1:], 3, False) for row in rows]
        chosen = filled(np.concatenate([rows, *others]), batch, len(pool), random)
        made = pool.embed(network, chosen, query=False, width=width)
        targets = pool.teacher_vectors(chosen)
        loss = distance(made, targets) + 10 * cosines(made, targets)
        if clusters:
            loss = loss + 0.25 * belonging(made, torch.from_numpy(centres), labels[chosen])
        yield loss


def filled(found: Rows, count: int, total: int, random: np.random.Generator) -> Rows:
    """Return `count` different numbers below `total`, or all: those found, and random ones."""
    chosen = np.unique(found)
    if len(chosen) > count:
        return random.choice(chosen, count, replace=False)
    others = np.setdiff1d(np.arange(total), chosen)
    more = random.choice(others, min(count - len(chosen), len(others)), replace=False)
    rows: Rows = np.concatenate([chosen, more])
    return rows


def cosines(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of all cosines between texts, at every Matryoshka dimension."""
    aim = wanted @ wanted.T
    total = made.new_zeros(())
    for size in DIMENSIONS:
        short = functional.normalize(made[:, :size], dim=-1)
        total = total + (short @ short.T - aim).square().mean()
    return total / len(DIMENSIONS)


def belonging(made: Tensor, centres: Tensor, labels: Rows) -> Tensor:
    """Cross-entropy of the clusters, at every Matryoshka dimension."""
    total = made.new_zeros(())
    for size in DIMENSIONS:
        short = functional.normalize(made[:, :size], dim=-1)
        aims = functional.normalize(centres[:, : short.shape[1]], dim=-1)
        scores = short @ aims.T / TEMPERATURE
        total = total + functional.cross_entropy(scores, torch.from_numpy(labels))
    return total / len(DIMENSIONS)


def nearest(queries: Half, documents: Half, count: int) -> Rows:
    """Find the `count` documents with the highest cosine, best first."""
    table = torch.from_numpy(documents.astype(np.float32))
    table = functional.normalize(table, dim=-1)
    blocks = []
    for first in range(0, len(queries), 1024):
        block = torch.from_numpy(queries[first : first + 1024].astype(np.float32))
        blocks.append((block @ table.T).topk(min(count, len(documents)), dim=1).indices)
    indices: Rows = torch.cat(blocks).numpy()
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
