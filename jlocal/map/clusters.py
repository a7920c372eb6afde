"""k-means over unit vectors, and the most characteristic words of each cluster."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jlocal.vectors import Floats

Labels = npt.NDArray[np.intp]

_STARTS = 4
_MAX_STEPS = 100
# Squared distances below this are rounding errors.
_ROUNDING = 1e-6
_WORD = re.compile(r"[^\W\d_]{3,}")


def kmeans(vectors: Floats, k: int, seed: int) -> Labels:
    """Group unit vectors (n, d) by k-means: the best of several runs, initialised by k-means++.

    Returns:
        (n,) labels from 0, the largest cluster first; at most k clusters, and no more than there
        are distinct vectors.

    """
    rng = np.random.default_rng(seed)
    runs = [_lloyd(vectors, _first_centres(vectors, k, rng)) for _ in range(_STARTS)]
    labels, _ = min(runs, key=lambda run: run[1])
    found, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(found), np.intp)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(found))
    return rank[numbers]


def _first_centres(vectors: Floats, k: int, rng: np.random.Generator) -> Floats:
    """Choose vectors with probabilities that grow with their distance from the chosen ones."""
    chosen = [int(rng.integers(len(vectors)))]
    far = np.full(len(vectors), np.inf)
    while len(chosen) < k:
        distances = 2 - 2 * (vectors @ vectors[chosen[-1]]).astype(np.float64)
        far = np.minimum(far, np.where(distances < _ROUNDING, 0, distances))
        if not far.any():
            break
        chosen.append(int(rng.choice(len(vectors), p=far / far.sum())))
    return vectors[chosen]


def _lloyd(vectors: Floats, centres: Floats) -> tuple[Labels, float]:
    """Move centres to the means of their vectors until no vector changes its centre.

    Returns the labels, and the sum of squared distances up to a constant.
    """
    labels: Labels = np.full(len(vectors), -1, np.intp)
    cost = 0.0
    for _ in range(_MAX_STEPS):
        distances = (centres * centres).sum(axis=1) - 2 * (vectors @ centres.T)
        nearest = distances.argmin(axis=1)
        cost = float(distances.min(axis=1).sum(dtype=np.float64))
        if np.array_equal(nearest, labels):
            break
        labels = nearest
        for number in np.unique(labels):
            centres[number] = vectors[labels == number].mean(axis=0)
    return labels, cost


def name_clusters(texts: Sequence[str], labels: Labels, words: int = 3) -> list[str]:
    """Name each cluster by the words that are more frequent in its texts than in all texts.

    The score of a word is p log(p / q), for its share p of the cluster's texts and q of all texts.
    """
    sets = [set(_WORD.findall(text.casefold())) for text in texts]
    everywhere = Counter(word for text_words in sets for word in text_words)
    names = []
    for number in range(int(labels.max(initial=-1)) + 1):
        mine = [
            text_words for text_words, label in zip(sets, labels, strict=True) if label == number
        ]
        counts = Counter(word for text_words in mine for word in text_words)
        weights = {
            word: count / len(mine) * np.log(count * len(sets) / (everywhere[word] * len(mine)))
            for word, count in counts.items()
            if count > 1
        }
        telling = [word for word, weight in weights.items() if weight > 0]
        best = sorted(telling, key=lambda word: (-weights[word], word))[:words]
        names.append(f"{number + 1}: {', '.join(best)}" if best else f"{number + 1}")
    return names
