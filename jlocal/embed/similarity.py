"""Similarities of vectors: cosine, dot product, and negative distances."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

import numpy as np

from jlocal.arguments import wrong
from jlocal.errors import ArgumentError
from jlocal.vectors import Floats, Vectors, normalize


@dataclass(frozen=True)
class Similarity:
    """A similarity function of vectors; larger values are nearer.

    Attributes:
        table: compares each row of (n, d) with each row of (m, d), to (n, m).
        pairwise: compares each row of (n, d) with the same row of (n, d), to (n,).

    """

    table: Callable[[Floats, Floats], Floats]
    pairwise: Callable[[Floats, Floats], Floats]


def _dot(a: Floats, b: Floats) -> Floats:
    products: Floats = a @ b.T
    return products


def _pairwise_dot(a: Floats, b: Floats) -> Floats:
    products: Floats = np.sum(a * b, axis=1)
    return products


def _distances(a: Floats, b: Floats, order: int) -> Floats:
    distances = np.empty((len(a), len(b)), np.float32)
    for row, vector in enumerate(a):
        distances[row] = np.linalg.norm(b - vector, order, axis=1)
    return -distances


def _pairwise_distances(a: Floats, b: Floats, order: int) -> Floats:
    distances: Floats = -np.linalg.norm(a - b, order, axis=1).astype(np.float32)
    return distances


# By the names of sentence-transformers.
SIMILARITIES = {
    "cosine": Similarity(
        lambda a, b: _dot(normalize(a), normalize(b)),
        lambda a, b: _pairwise_dot(normalize(a), normalize(b)),
    ),
    "dot": Similarity(_dot, _pairwise_dot),
    "euclidean": Similarity(
        lambda a, b: _distances(a, b, 2), lambda a, b: _pairwise_distances(a, b, 2)
    ),
    "manhattan": Similarity(
        lambda a, b: _distances(a, b, 1), lambda a, b: _pairwise_distances(a, b, 1)
    ),
}


def check_name(name: object) -> str:
    """Return the name of a similarity, also from sentence-transformers' enumeration.

    Raises:
        ArgumentError: there is no such similarity.

    """
    text = str(getattr(name, "value", name))
    if text not in SIMILARITIES:
        known = ", ".join(map(repr, SIMILARITIES))
        raise wrong("similarity_fn_name", text, f"it is one of {known}")
    return text


def similarity(
    a: Vectors, b: Vectors, dimensions: Container[int] | None = None, name: str = "cosine"
) -> Floats:
    """Return the similarity of every row of a (n, d) with every row of b (m, d), (n, m) float32.

    Args:
        a: float or int8 vectors, as an array or a list; a single vector may have shape (d,).
        b: as `a`.
        dimensions: the lengths that int8 vectors can have; None allows any.
        name: one of `SIMILARITIES`.

    Raises:
        ArgumentError: the vectors are of another precision, not finite, or of different lengths.
            Bits (binary, ubinary) have no cosine: compare them by Hamming distance.

    """
    x, y = _rows("a", a, dimensions), _rows("b", b, dimensions)
    _check_lengths(x, y)
    return SIMILARITIES[name].table(x, y)


def pairwise_similarity(
    a: Vectors, b: Vectors, dimensions: Container[int] | None = None, name: str = "cosine"
) -> Floats:
    """Return the similarity of each row of a (n, d) with the same row of b, as (n,) float32.

    The arguments are those of `similarity`.
    """
    x, y = _rows("a", a, dimensions), _rows("b", b, dimensions)
    _check_lengths(x, y)
    if len(x) != len(y):
        raise ArgumentError(f"{len(x):,} vectors cannot be paired with {len(y):,}", argument="b")
    return SIMILARITIES[name].pairwise(x, y)


def _check_lengths(a: Floats, b: Floats) -> None:
    if a.shape[1] != b.shape[1]:
        raise ArgumentError(
            f"vectors of {a.shape[1]:,} and of {b.shape[1]:,} components have no cosine; embed "
            "both with the same model, dimensions and precision",
            argument="b",
        )


def _rows(argument: str, vectors: Vectors, dimensions: Container[int] | None) -> Floats:
    array = np.asarray(vectors)
    # Lists of integers lose their type; the values of int8 do not exceed 127.
    if array.dtype.kind == "u" or (array.dtype.kind == "i" and array.max(initial=0) > 127):
        raise ArgumentError(
            "uint8 vectors have no direction; take 128 from precision uint8, and compare ubinary "
            "by Hamming distance",
            argument=argument,
        )
    if array.dtype.kind == "U":
        raise ArgumentError(
            "vectors are compared, not texts; pass what encode() returns for them",
            argument=argument,
        )
    if array.dtype.kind not in "fi" or array.ndim not in (1, 2):
        raise ArgumentError(
            f"vectors are an array (n, d) of numbers, not {array.dtype} of shape {array.shape}",
            argument=argument,
        )
    rows = np.atleast_2d(array)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ArgumentError(
            f"vector {int(finite.argmin())} is not finite; embed its text again",
            argument=argument,
        )
    # Eight bits share a byte: only the number of columns distinguishes bits from int8 components.
    if array.dtype.kind == "i" and dimensions is not None and rows.shape[1] not in dimensions:
        raise ArgumentError(
            f"{array.dtype} vectors of {rows.shape[1]:,} columns may be bits (precision binary), "
            "which are compared by Hamming distance; pass int8 components as "
            "vectors.astype('float32')",
            argument=argument,
        )
    return rows.astype(np.float32, copy=False)
