"""Projecting vectors to two dimensions, by principal components or UMAP."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from jlocal import child, extras
from jlocal.errors import ArgumentError, JlocalError
from jlocal.terms import Argument
from jlocal.vectors import Floats

Points = npt.NDArray[np.float64]
# Each call reads all vectors again, in blocks (n, d).
Blocks = Callable[[], Iterable[Floats]]

# Smaller differences between unit vectors are rounding errors.
_ROUNDING = 1e-10
# The minimum for UMAP's graph of neighbours.
_MIN_VECTORS = 5
_PCA = Argument("method", "pca")


def pca(blocks: Blocks) -> tuple[Points, tuple[float, float]]:
    """Project vectors to their first two principal components.

    Reads the vectors twice, and holds one block at a time and d x d numbers.

    Returns:
        (n, 2) coordinates, and the share of the variance on each axis, from 0 to 1; zeros if all
        vectors are equal.

    """
    count, mean, covariance = _moments(blocks())
    if count == 0:
        raise ArgumentError("there are no vectors to project", argument="blocks")
    variance = float(np.trace(covariance))
    if variance < _ROUNDING:
        return np.zeros((count, 2)), (0.0, 0.0)
    values, vectors = np.linalg.eigh(covariance)
    # One dimension has one axis.
    axes = np.zeros((len(mean), 2))
    components = min(2, len(mean))
    axes[:, :components] = vectors[:, ::-1][:, :components]
    # The sign of an axis is arbitrary; a fixed one is the same on every machine.
    peaks = axes[np.abs(axes).argmax(axis=0), [0, 1]]
    axes *= np.where(peaks < 0, -1, 1)
    shares = np.zeros(2)
    shares[:components] = np.maximum(values[::-1][:components], 0) / variance
    points = np.concatenate([(block - mean) @ axes for block in blocks()])
    return points, (float(shares[0]), float(shares[1]))


def _moments(blocks: Iterable[Floats]) -> tuple[int, Points, Points]:
    """Return the number, mean (d,) and covariance (d, d) of vectors."""
    count = 0
    shift, total, products = np.zeros(0, np.float32), np.zeros(0), np.zeros((0, 0))
    for block in blocks:
        if count == 0:
            # Centred, so that the products lose nothing in single precision.
            shift = block.mean(axis=0)
            total, products = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))
        centred = block - shift
        total += centred.sum(axis=0, dtype=np.float64)
        products += centred.T @ centred
        count += len(block)
    mean = total / max(count, 1)
    return count, shift + mean, products / max(count, 1) - np.outer(mean, mean)


def umap(vectors: Floats, seed: int) -> Points:
    """Lay out unit vectors (n, d) by UMAP over cosines, as (n, 2).

    Raises:
        ArgumentError: there are too few vectors.
        ExtraError: umap-learn is not installed.
        JlocalError: UMAP fails.

    """
    if len(vectors) < _MIN_VECTORS:
        raise ArgumentError(
            f"UMAP needs at least {_MIN_VECTORS} passages, and there are "
            f"{len(vectors)}; take {_PCA}",
            _PCA,
            argument="method",
        )
    extras.require("map", "UMAP needs", _PCA, instead=f"{_PCA} needs nothing")
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    with tempfile.TemporaryDirectory(prefix="jlocal-") as empty:
        done = child.run("jlocal.map.layout", str(seed), data=stream.getvalue(), folder=Path(empty))
    if done.status:
        reason = (done.stderr.strip().splitlines() or [f"status {done.status}"])[-1]
        raise JlocalError(f"UMAP cannot lay these out: {reason}; take {_PCA}", _PCA)
    return cast(Points, np.load(io.BytesIO(done.stdout), allow_pickle=False))
