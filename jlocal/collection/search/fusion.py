"""Fuse two scores of a passage: BM25 of its words, and the cosine of its vector.

The fused score is BM25 + w · z, where z = (cosine - mean) / deviation, over evenly sampled passages
of the collection, is the cosine's standard score. BM25 sums log-odds that a passage is relevant,
one term of the query at a time (Robertson and Zaragoza, "The Probabilistic Relevance Framework:
BM25 and Beyond", 2009), and z acts as one more term. So neither score is scaled by the best passage
of a query, as in a convex combination (arXiv 2210.11934): if the model does not know the query's
language, all z stay small and the words decide; if the collection has none of the query's words,
the meaning decides. docs/search.md has the measurements.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from jlocal.collection.database.bm25 import MORE_ROWS
from jlocal.vectors import Floats

# w of unknown models, and of models by name. docs/search.md explains the values.
WEIGHT = 2.5
_WEIGHTS = (
    (re.compile("jlocal-starter"), 2.0),
    (re.compile("v5-(text-)?(small|nano)"), 4.0),
)
# From this number of terms in a query on, meaning has its full weight.
_ENOUGH_TERMS = 4
# The weight of a path's BM25 beside a passage's.
PATH_WEIGHT = 0.75

# The measured share of right answers among the hits with the highest scores.
_SUREST = 0.99

# The deviation of few cosines is uncertain: this many cosines of this deviation are added as a
# prior.
_MORE, _DEVIATION = 10, 0.1


def weight_of(model: str) -> float:
    """Return the weight of meaning beside words, by a model's name in its header or file name."""
    name = re.sub("[ _]", "-", model.lower())
    return next((weight for pattern, weight in _WEIGHTS if pattern.search(name)), WEIGHT)


def fused(bm25: Floats, z_scores: Floats, weight: float, terms: int) -> Floats:
    """Return the fused scores (n,) of passages; words count more in a query of few terms."""
    scores: Floats = bm25 + np.float32(_weight_in(weight, terms)) * z_scores
    return scores


def _weight_in(weight: float, terms: int) -> float:
    """Return the weight of meaning in a query of `terms` terms; without terms, it is full."""
    return weight * min(1.0, math.sqrt(max(terms, 1) / _ENOUGH_TERMS))


@dataclass(frozen=True)
class Background:
    """The distribution of a query's cosines over evenly sampled passages."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, cosines: Floats) -> Background:
        """Estimate the distribution from cosines (m,)."""
        mean = float(cosines.mean()) if len(cosines) else 0.0
        squares = float(np.square(cosines - mean).sum()) + _MORE * _DEVIATION**2
        return cls(mean, math.sqrt(squares / (len(cosines) + _MORE)))

    def z_scores(self, cosines: Floats) -> Floats:
        """Return the standard scores (n,) of cosines (n,): deviations from the mean."""
        apart: Floats = (cosines - np.float32(self.mean)) / np.float32(self.deviation)
        return apart


@dataclass(frozen=True)
class Scale:
    """Maps a score to a relevance by a logistic curve, 0.99 / (1 + exp(at - slope * score)).

    The curves were fitted to the best three hits of each query, with and without its answer in the
    collection. In a large collection words are rarer and more cosines are outliers, and a query of
    many words sums many scores, so the curves depend on both counts.
    """

    slope: float
    at: float

    @classmethod
    def of_both(cls, terms: int, passages: int, weight: float) -> Scale:
        """Return the scale of fused scores, for the number of the query's terms and of passages."""
        return cls(11.7 / (_weight_in(weight, terms) + 1) / _spread(terms, passages), 5.0)

    @classmethod
    def of_words(cls, terms: int, passages: int) -> Scale:
        """Return the scale of BM25."""
        return cls(5.7 / _spread(terms, passages), 4.85)

    @classmethod
    def of_meaning(cls, background: Background, passages: int) -> Scale:
        """Return the scale of cosines."""
        slope = 4.0 / math.sqrt(2 * math.log(passages + 10)) / background.deviation
        return cls(slope, 5.5 + slope * background.mean)

    def relevance(self, score: float) -> float:
        """Return the probability that a passage of this score answers the query."""
        return _SUREST / (1 + math.exp(min(self.at - self.slope * score, 100.0)))


def _spread(terms: int, passages: int) -> float:
    return math.sqrt(max(terms, 1)) * math.log(passages + MORE_ROWS)
