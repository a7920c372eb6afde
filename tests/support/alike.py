"""How similar vectors are, text by text."""

from __future__ import annotations

import numpy as np

from support.texts import AWKWARD


def cosines(a, b):
    """Cosine of each row with the same row, in float64: these are close to 1."""
    a, b = (np.asarray(vectors, dtype=np.float64) for vectors in (a, b))
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def below(floor, a, b, names=tuple(AWKWARD)):
    """Return the cosines below a floor, by the name of the text."""
    found = zip(names, cosines(a, b).tolist(), strict=True)
    return {name: cosine for name, cosine in found if not cosine >= floor}


def assert_alike(a, b):
    """Assert that vectors are those of the same texts, computed in other batches."""
    assert np.shape(a) == np.shape(b)
    assert (cosines(a, b) > 0.9999).all()
