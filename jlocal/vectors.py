"""Arrays of embeddings: Matryoshka truncation, normalisation, precision; it knows no models."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from jlocal.errors import ArgumentError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Vectors = npt.NDArray[Any]
_Reals = TypeVar("_Reals", Floats, Doubles)

PRECISIONS = ("float32", "float16", "int8", "uint8", "binary", "ubinary")


def finish(vectors: Floats, truncate_dim: int | None, precision: str) -> Vectors:
    """Truncate, normalise and quantise vectors, in this order.

    Args:
        vectors: (n, d) float32, of any length.
        truncate_dim: how many leading components to keep; None keeps all.
        precision: one of `PRECISIONS`.

    Returns:
        (n, truncate_dim) float32, float16, int8 or uint8; for "binary" and "ubinary"
        (n, truncate_dim / 8) int8 or uint8.

    """
    return quantize(normalize(vectors[:, :truncate_dim]), precision)


def normalize(vectors: _Reals) -> _Reals:
    """Scale each row of (n, d) to unit L2 length; a row of zeros stays zero.

    Returns:
        (n, d) float64 where the vectors are, and float32 otherwise; a row that is not finite
        stays so.

    """
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # The squares of very small and very large components leave float32.
    extreme = ~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 1e-12))
    if extreme.any():
        peaks = np.abs(vectors[extreme]).max(axis=1, keepdims=True, initial=0)
        vectors = vectors.copy()
        vectors[extreme] /= np.where(np.isfinite(peaks) & (peaks > 0), peaks, 1)
        lengths[extreme] = np.linalg.norm(vectors[extreme], axis=1, keepdims=True)
    dtype = np.float64 if vectors.dtype == np.float64 else np.float32
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), dtype=dtype)


def quantize(vectors: Floats, precision: str) -> Vectors:
    """Store unit vectors of shape (n, d) in fewer bytes.

    - float32, float16: as they are.
    - int8: each vector scaled so that its largest component is 127. A direction needs no scale,
      so compare them by cosine; no vector depends on the others of the same call.
    - uint8: int8 plus 128; subtract 128 before comparing.
    - binary, ubinary: the sign bits (component > 0), eight to a byte, as int8 (minus 128) and
      uint8; d must be a multiple of 8.

    Raises:
        ArgumentError: the precision is unknown, or d is no multiple of 8 for a binary one.

    """
    check_precision(precision, vectors.shape[1])
    if precision in ("float32", "float16"):
        floats: Vectors = vectors.astype(precision, copy=False)
        return floats
    if precision in ("int8", "uint8"):
        peaks = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-12)
        steps: Vectors = np.rint(vectors * (127 / peaks)).astype(np.int16)
        return steps.astype(np.int8) if precision == "int8" else (steps + 128).astype(np.uint8)
    packed: Vectors = np.packbits(vectors > 0, axis=1)
    return packed if precision == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)


def check_precision(precision: str, dimensions: int) -> None:
    """Raise ArgumentError unless vectors of this length can be stored in this precision."""
    if precision not in PRECISIONS:
        raise ArgumentError(
            f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}", argument="precision"
        )
    if precision in ("binary", "ubinary") and dimensions % 8:
        raise ArgumentError(
            f"{precision} needs a multiple of 8 dimensions, not {dimensions}", argument="precision"
        )
