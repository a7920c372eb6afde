"""How near vectors are to those of a reference, and what searches with them find.

Neighbours are searched for as in retrieval: each text with the query prompt is asked, and ranks all
other texts with the document prompt. What the reference's full float32 vectors put first is taken
for right; a model, a shorter dimension or a coarser precision is measured by how much of that it
finds again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jlocal.models.prompts import document_prompt, query_prompt
from jlocal.vectors import Doubles, Floats, finish, normalize, quantize
from jlocal.verify.encoders import Ints

DEPTH = 10
PRECISIONS = ("float32", "int8", "binary")
# Upper ends, in tokens with prompt and special ones; above the last there is no end.
LENGTHS = (8, 32, 128, 512)

_ROWS = 256
# Far below what a difference of vectors makes, and above what the order of sums makes.
_DECIMALS = 9


@dataclass(frozen=True)
class Summary:
    """Cosines of a group of vectors: how many, least, percentiles, mean."""

    count: int
    min: float
    p1: float
    p5: float
    p50: float
    mean: float


@dataclass(frozen=True)
class Agreement:
    """How much of the reference's ten nearest a search finds again, means over all queries.

    Attributes:
        recall: share of the ten that are among the ten found.
        ndcg: nDCG@10, where the reference's nearest counts 10, its second 9, and so on.

    """

    recall: float
    ndcg: float


@dataclass(frozen=True)
class Loss:
    """What a search loses with vectors of one dimension and precision.

    Attributes:
        bytes: of one vector.
        model: agreement of the model's vectors with the reference's full float32 ones.
        reference: the same of the reference's own vectors: what the dimension and the precision
            cost without the model.

    """

    bytes: int
    model: Agreement
    reference: Agreement


@dataclass(frozen=True)
class Dimension:
    """One length of vectors.

    Attributes:
        dimensions: the length.
        cosine: of model and reference at this length, over all vectors.
        losses: precision to loss; "binary" is missing where the length is no multiple of 8, and
            all are where there are too few texts to rank.

    """

    dimensions: int
    cosine: Summary
    losses: Mapping[str, Loss]


def cosines(a: Floats, b: Floats) -> Doubles:
    """Cosine of each row of a (n, d) with the same row of b, in float64, (n,)."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    products: Doubles = (x * y).sum(axis=1) / np.maximum(lengths, 1e-300)
    return products.clip(-1.0, 1.0)


def summarize(values: Doubles) -> Summary:
    """Summarise at least one cosine."""
    p1, p5, p50 = np.percentile(values, (1, 5, 50)).tolist()
    return Summary(len(values), float(values.min()), p1, p5, p50, float(values.mean()))


def length_of(tokens: int) -> str:
    """Name the group of texts of such a length."""
    lower = 1
    for upper in LENGTHS:
        if tokens <= upper:
            return f"{lower} to {upper}"
        lower = upper + 1
    return f"above {LENGTHS[-1]}"


def at_dimensions(
    model: Mapping[str, Floats], reference: Mapping[str, Floats], lengths: Sequence[int]
) -> list[Dimension]:
    """Compare at several dimensions.

    Args:
        model: prompt name to full vectors (n, d), of the same texts in the same order.
        reference: the same.
        lengths: to cut vectors to; the full one is d.

    """
    query, document = roles([*model])
    full = next(iter(model.values())).shape[1]
    expected = _neighbours(reference[query], reference[document], full, "float32")
    compared = []
    for length in lengths:
        pairs = [cosines(model[name][:, :length], reference[name][:, :length]) for name in model]
        losses = {}
        for precision in PRECISIONS if expected is not None else ():
            if precision == "binary" and length % 8:
                continue
            sides = (
                _neighbours(side[query], side[document], length, precision)
                for side in (model, reference)
            )
            size = quantize(np.zeros((1, length), np.float32), precision).nbytes
            losses[precision] = Loss(size, *(_agreement(side, expected) for side in sides))
        compared.append(Dimension(length, summarize(np.concatenate(pairs)), losses))
    return compared


def roles(prompts: Sequence[str]) -> tuple[str, str]:
    """Choose the prompts of queries and of documents; the first one stands in for a missing one."""
    return query_prompt(prompts) or prompts[0], document_prompt(prompts) or prompts[0]


def _neighbours(queries: Floats, documents: Floats, length: int, precision: str) -> Ints | None:
    """Find the ten nearest others of each text, best first, (n, 10); equal ones in their order.

    Float and int8 vectors are compared by cosine, bits by how many of them agree. None where there
    are not more than ten others: all would be found whatever the vectors.
    """
    if len(queries) <= DEPTH + 1:
        return None
    a, b = (_comparable(vectors, length, precision) for vectors in (queries, documents))
    parts = []
    for start in range(0, len(a), _ROWS):
        scores = np.round(a[start : start + _ROWS] @ b.T, _DECIMALS)
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        parts.append(np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH])
    return np.concatenate(parts)


def _comparable(vectors: Floats, length: int, precision: str) -> Doubles:
    """Cut and quantise vectors to such as are compared by products."""
    short = finish(vectors, length, "float32")
    if precision == "binary":
        return np.where(short > 0, 1.0, -1.0)
    return normalize(quantize(short, precision).astype(np.float64))


def _agreement(neighbours: Ints | None, expected: Ints | None) -> Agreement:
    assert neighbours is not None
    assert expected is not None
    same = neighbours[:, :, None] == expected[:, None, :]
    gains = np.arange(DEPTH, 0, -1)
    discount = 1 / np.log2(np.arange(2, DEPTH + 2))
    gained = (same * gains).sum(axis=2) @ discount
    return Agreement(float(same.any(axis=2).mean()), float((gained / (gains @ discount)).mean()))
