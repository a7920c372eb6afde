"""One order from two: how well a passage's words fit a query, and how near its meaning is.

The fused score is BM25 + w · z, where z = (cosine - mean) / deviation, over passages of the
collection taken evenly, says how far a cosine stands out. BM25 sums log-odds that a passage is
relevant, one term of the query at a time (Robertson and Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond", 2009), and z is one term more. So neither is scaled by the best
passage of a query, as in a convex combination (arXiv 2210.11934): a model that does not know the
query's language sets no passage apart, its z stay small, and the words decide; where the collection
has none of the query's words, the meaning does. docs/search.md has the measurements.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from jlocal.collection.database.bm25 import MORE_ROWS
from jlocal.vectors import Floats

# w of a model that is not known; and of models by their names. docs/search.md says why.
WEIGHT = 2.5
_WEIGHTS = (
    (re.compile("jlocal-starter"), 2.0),
    (re.compile("v5-(text-)?(small|nano)"), 4.0),
)
# From so many terms of a query on, the weight of meaning is whole.
_ENOUGH_TERMS = 4
# What BM25 of a path counts beside that of a passage.
PATH_WEIGHT = 0.75

# Of the hits with the highest scores so many were right.
_SUREST = 0.99

# The deviation of few cosines says little: as if there were so many more, of this deviation.
_MORE, _DEVIATION = 10, 0.1


def weight_of(model: str) -> float:
    """Weight of meaning beside words, by a model's name, as its header or its file has it."""
    name = re.sub("[ _]", "-", model.lower())
    return next((weight for pattern, weight in _WEIGHTS if pattern.search(name)), WEIGHT)


def fused(bm25: Floats, standing_out: Floats, weight: float, terms: int) -> Floats:
    """Fused scores (n,) of passages; of a query of few terms the words count more."""
    scores: Floats = bm25 + np.float32(_weight_in(weight, terms)) * standing_out
    return scores


def _weight_in(weight: float, terms: int) -> float:
    """Weight of meaning in a query of so many terms; without any, nothing else counts."""
    return weight * min(1.0, math.sqrt(max(terms, 1) / _ENOUGH_TERMS))


@dataclass(frozen=True)
class Background:
    """What cosines of a query are like where passages are taken evenly."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, cosines: Floats) -> Background:
        """Measure cosines (m,)."""
        mean = float(cosines.mean()) if len(cosines) else 0.0
        squares = float(np.square(cosines - mean).sum()) + _MORE * _DEVIATION**2
        return cls(mean, math.sqrt(squares / (len(cosines) + _MORE)))

    def standing_out(self, cosines: Floats) -> Floats:
        """Say how many deviations cosines (n,) are from the mean, as (n,)."""
        apart: Floats = (cosines - np.float32(self.mean)) / np.float32(self.deviation)
        return apart


@dataclass(frozen=True)
class Scale:
    """How a score becomes a relevance: a logistic curve, 0.99 / (1 + exp(at - slope * score)).

    The curves were fitted to the best three hits of each query, with its answer in the collection
    and without it. Words are rarer, and more cosines stand out, in a large collection; and the
    score of a query of many words is the sum of many. The one word of a query says it all.
    """

    slope: float
    at: float

    @classmethod
    def of_both(cls, terms: int, passages: int, weight: float) -> Scale:
        """Fit fused scores, of a query of so many terms in so many passages."""
        return cls(11.7 / (_weight_in(weight, terms) + 1) / _spread(terms, passages), 5.0)

    @classmethod
    def of_words(cls, terms: int, passages: int) -> Scale:
        """Fit BM25."""
        return cls(5.7 / _spread(terms, passages), 4.85)

    @classmethod
    def of_meaning(cls, background: Background, passages: int) -> Scale:
        """Fit cosines."""
        slope = 4.0 / math.sqrt(2 * math.log(passages + 10)) / background.deviation
        return cls(slope, 5.5 + slope * background.mean)

    def relevance(self, score: float) -> float:
        """Say how likely a passage of this score answers the query, from 0 to 1."""
        return _SUREST / (1 + math.exp(min(self.at - self.slope * score, 100.0)))


def _spread(terms: int, passages: int) -> float:
    return math.sqrt(max(terms, 1)) * math.log(passages + MORE_ROWS)
