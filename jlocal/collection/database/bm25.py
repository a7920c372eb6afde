"""BM25 scores of the rows of a full-text index, one term of the query at a time.

FTS5's own bm25 gives the frequency part. Its term weights are not used: they are zero for a term in
half of the rows, which in a folder of three notes is any term. And for a whole query it would score
every row that has the query's commonest word.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.collection.database.values import DamagedError, Ids, ascending, ids_of
from jlocal.collection.database.words import Term
from jlocal.vectors import Floats

# Only the rarest terms of a very long query are used.
_MOST_TERMS = 100
# Rows without the term that are added to compute its weight; and the least weight.
MORE_ROWS, _LEAST = 30, 0.01
# FTS5's weight of a term whose weight would not be above zero; and the k1 of its BM25.
_LEAST_WEIGHT, _K1 = 1e-6, 1.2

_BEFORE_ALL = -(1 << 63)

# Executes a statement with values, and returns its rows.
Select = Callable[..., list[Any]]
_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """The scores of a query's rows.

    Attributes:
        ids: of rows that have a word of the query, ascending, (n,).
        scores: BM25 of each, above 0, (n,) float32.
        terms: how many terms the query has.

    """

    ids: Ids
    scores: Floats
    terms: int

    @classmethod
    def none(cls) -> Scores:
        """Return the scores of a query without words."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32), 0)

    def of(self, ids: Ids) -> Floats:
        """Return the scores of these rows (m,); 0 for rows without a score."""
        if not len(self.ids):
            return np.zeros(len(ids), np.float32)
        locations = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[locations] == ids, self.scores[locations], np.float32(0))

    def best(self, most: int) -> Ids:
        """Return the ids of the best rows, best first."""
        return self.ids[np.lexsort((self.ids, -self.scores))[:most]]


def score(
    select: Select,
    table: str,
    terms: Sequence[Term],
    rows: int,
    allowed: Ids | None = None,
    *,
    most_rows: int = 10_000,
    best: int = 2000,
) -> Scores:
    """Score the rows of a full-text index, the rarest term first.

    Args:
        select: executes a statement of the collection.
        table: the index.
        terms: of the query, each as a list of its spellings.
        rows: how many rows the index has.
        allowed: ids (m,) of the only rows to look at.
        most_rows: after this many rows, the remaining terms only add to the scores of the best.
        best: how many rows they add to.

    """
    ways = [[(way, _count(select, table, way)) for way in term] for term in terms]
    # A row rarely has a term in two spellings.
    counts = [sum(count for _, count in term) for term in ways]
    rarest = sorted((count, term) for count, term in zip(counts, ways, strict=True) if count)
    parts, taken = [(np.empty(0, np.int64), np.empty(0))], 0
    for in_all, term in rarest[:_MOST_TERMS]:
        if taken and taken + in_all > most_rows:
            ids, scores = _added_up(parts)
            parts = [(ids, scores)]
            among: Ids | None = ids[np.lexsort((ids, -scores))[:best]]
        else:
            among, taken = allowed, taken + in_all
        for way, count in term:
            found, frequencies = _frequencies(select, table, way, rows, count, among)
            parts.append((found, _weight(rows, in_all) * frequencies))
    ids, scores = _added_up(parts)
    if not np.isfinite(scores).all():
        raise DamagedError(f"a number in {table} is wrong")
    return Scores(ids, scores.astype(np.float32), len(terms))


def _added_up(parts: Sequence[tuple[Ids, _Doubles]]) -> tuple[Ids, _Doubles]:
    """Add up the scores of each row; return ascending ids (n,) and sums (n,)."""
    ids, locations = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
    scores = np.concatenate([scores for _, scores in parts])
    return ids, np.bincount(locations, scores, len(ids)).astype(np.float64)


def _weight(rows: int, count: int) -> float:
    """Return the weight of a term that `count` rows have."""
    return max(_LEAST, math.log((rows + MORE_ROWS - count + 0.5) / (count + 0.5)))


def _count(select: Select, table: str, term: str) -> int:
    """Count the rows that have a spelling of a term."""
    return int(select(f"SELECT count(*) FROM {table} WHERE {table} MATCH ?", term)[0][0])


def _frequencies(
    select: Select, table: str, term: str, rows: int, count: int, allowed: Ids | None
) -> tuple[Ids, _Doubles]:
    """Return the rows (n,) that have a term, and its frequency part of BM25 (n,)."""
    statement = f"SELECT rowid, -bm25({table}) FROM {table} WHERE {table} MATCH ?"
    values: list[object] = [term]
    if allowed is not None:
        # `+` keeps SQLite from asking the index once for each id.
        statement += " AND +rowid IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(allowed.tolist()))
    matches = select(statement, *values)
    ids = ids_of([id for id, _ in matches])
    ascending(ids, _BEFORE_ALL)
    weight = float(np.log((rows - count + 0.5) / (count + 0.5))) if rows >= count else 0.0
    parts = np.array([part for _, part in matches], np.float64)
    return ids, np.clip(parts / (weight if weight > 0 else _LEAST_WEIGHT), 0, _K1 + 1)
