"""Comparing vectors with those of a reference: cosines, and the agreement of searches.

Neighbours are searched as in retrieval: each text with the query prompt is a query, and ranks all
other texts with the document prompt. The ranking of the reference's full float32 vectors is the
ground truth for a model, a shorter dimension or a coarser precision.
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
# Upper bounds of the groups, in tokens including prompt and special tokens; the last has none.
LENGTHS = (8, 32, 128, 512)

_ROWS = 256
# Far below real differences of vectors, and above the effects of the order of sums.
_DECIMALS = 9


@dataclass(frozen=True)
class Summary:
    """Cosines of a group of vectors: number, minimum, percentiles, mean."""

    count: int
    min: float
    p1: float
    p5: float
    p50: float
    mean: float


@dataclass(frozen=True)
class Agreement:
    """How well a search finds the reference's ten nearest texts, as means over all queries.

    Attributes:
        recall: share of the reference's ten among the ten found.
        ndcg: nDCG@10, with a gain of 10 for the reference's nearest, 9 for its second, and so on.

    """

    recall: float
    ndcg: float


@dataclass(frozen=True)
class Loss:
    """The loss of a search with vectors of one dimension and precision.

    Attributes:
        bytes: bytes of a vector.
        model: agreement of the model's vectors with the reference's full float32 ones.
        reference: agreement of the reference's own vectors with its full float32 ones: the loss
            by the dimension and the precision alone.

    """

    bytes: int
    model: Agreement
    reference: Agreement


@dataclass(frozen=True)
class Dimension:
    """The results at one length of vectors.

    Attributes:
        dimensions: the length.
        cosine: cosines of model and reference at this length, over all vectors.
        losses: the loss of each precision, without "binary" if the length is not a multiple of 8;
            empty if there are too few texts to rank.

    """

    dimensions: int
    cosine: Summary
    losses: Mapping[str, Loss]


def cosines(a: Floats, b: Floats) -> Doubles:
    """Return the cosine of each row of a (n, d) with the same row of b, in float64, (n,)."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    products: Doubles = (x * y).sum(axis=1) / np.maximum(lengths, 1e-300)
    return products.clip(-1.0, 1.0)


def summarize(values: Doubles) -> Summary:
    """Summarise at least one cosine."""
    p1, p5, p50 = np.percentile(values, (1, 5, 50)).tolist()
    return Summary(len(values), float(values.min()), p1, p5, p50, float(values.mean()))


def length_of(tokens: int) -> str:
    """Return the name of the group of texts of this length."""
    lower = 1
    for upper in LENGTHS:
        if tokens <= upper:
            return f"{lower} to {upper}"
        lower = upper + 1
    return f"above {LENGTHS[-1]}"


def at_dimensions(
    model: Mapping[str, Floats], reference: Mapping[str, Floats], lengths: Sequence[int]
) -> list[Dimension]:
    """Compare vectors at several lengths.

    Args:
        model: prompt name to full vectors (n, d), of the same texts in the same order.
        reference: prompt name to full vectors (n, d) of the reference.
        lengths: the lengths to truncate vectors to; the full one is d.

    """
    query, document = query_and_document_prompts([*model])
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


def query_and_document_prompts(prompts: Sequence[str]) -> tuple[str, str]:
    """Return the names of the query and document prompts; the first prompt stands in for either."""
    return query_prompt(prompts) or prompts[0], document_prompt(prompts) or prompts[0]


def _neighbours(queries: Floats, documents: Floats, length: int, precision: str) -> Ints | None:
    """Find the ten nearest other texts of each text, best first, (n, 10); ties in their order.

    Float and int8 vectors are compared by cosine, bits by how many of them agree. None if there
    are at most ten other texts: any vectors would find them all.
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
    """Truncate and quantise vectors so that dot products compare them."""
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
