"""How well words fit: BM25 of the rows of a full-text index, a term of the query at a time.

FTS5 has it as a function, from which the frequency part is taken. Its weights of terms are not:
they are zero for whatever half of the rows have, which in a folder of three notes is anything. And
of a whole query it would compute the score of every row that has the commonest of its words.
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

# Terms are taken from the rarest on. Once they have given so many rows, those that are left only
# add to the score of this many rows, the best so far.
_MOST_ROWS, _BEST = 10_000, 2000
# Of a whole page as a query, so many of its rarest terms tell enough.
_MOST_TERMS = 100
# A term's weight is as if there were so many more rows, without it; and the least.
MORE_ROWS, _LEAST = 30, 0.01
# What FTS5 takes where a weight would not be above zero; and the k1 of its BM25.
_LEAST_WEIGHT, _K1 = 1e-6, 1.2

_BEFORE_ALL = -(1 << 63)

# Executes a statement with values, and gives its rows.
Select = Callable[..., list[Any]]
_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What an index says of a query.

    Attributes:
        ids: of rows that have a word of it, ascending, (n,).
        scores: BM25 of each, above 0, (n,) float32.
        terms: how many terms the query has.

    """

    ids: Ids
    scores: Floats
    terms: int

    @classmethod
    def none(cls) -> Scores:
        """Scores of a query without words."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32), 0)

    def of(self, ids: Ids) -> Floats:
        """Scores of these rows (m,); 0 where there is none."""
        if not len(self.ids):
            return np.zeros(len(ids), np.float32)
        locations = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[locations] == ids, self.scores[locations], np.float32(0))

    def best(self, most: int) -> Ids:
        """Ids of the best rows, best first."""
        return self.ids[np.lexsort((self.ids, -self.scores))[:most]]


def score(
    select: Select,
    table: str,
    terms: Sequence[Term],
    rows: int,
    allowed: Ids | None = None,
) -> Scores:
    """Score the rows of a full-text index.

    Args:
        select: executes a statement of the collection.
        table: the index.
        terms: of the query, each with the ways to write it.
        rows: how many the index has.
        allowed: ids (m,) of the only rows to look at.

    """
    ways = [[(way, _count(select, table, way)) for way in term] for term in terms]
    # Hardly a row has one of them written in two ways.
    counts = [sum(count for _, count in term) for term in ways]
    rarest = sorted((count, term) for count, term in zip(counts, ways, strict=True) if count)
    parts, taken = [(np.empty(0, np.int64), np.empty(0))], 0
    for in_all, term in rarest[:_MOST_TERMS]:
        if taken and taken + in_all > _MOST_ROWS:
            ids, scores = _added_up(parts)
            parts = [(ids, scores)]
            among: Ids | None = ids[np.lexsort((ids, -scores))[:_BEST]]
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
    """Add up the scores of each row, as ascending ids (n,) and sums (n,)."""
    ids, locations = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
    scores = np.concatenate([scores for _, scores in parts])
    return ids, np.bincount(locations, scores, len(ids)).astype(np.float64)


def _weight(rows: int, count: int) -> float:
    """Weight of a term that so many rows have."""
    return max(_LEAST, math.log((rows + MORE_ROWS - count + 0.5) / (count + 0.5)))


def _count(select: Select, table: str, term: str) -> int:
    """How many rows have a way of writing a term."""
    return int(select(f"SELECT count(*) FROM {table} WHERE {table} MATCH ?", term)[0][0])


def _frequencies(
    select: Select, table: str, term: str, rows: int, count: int, allowed: Ids | None
) -> tuple[Ids, _Doubles]:
    """Rows (n,) that have a term, and the part of BM25 that tells how often (n,)."""
    statement = f"SELECT rowid, -bm25({table}) FROM {table} WHERE {table} MATCH ?"
    values: list[object] = [term]
    if allowed is not None:
        # `+` keeps SQLite from asking the index once for each id.
        statement += " AND +rowid IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(allowed.tolist()))
    found = select(statement, *values)
    ids = ids_of([id for id, _ in found])
    ascending(ids, _BEFORE_ALL)
    weight = float(np.log((rows - count + 0.5) / (count + 0.5))) if rows >= count else 0.0
    parts = np.array([part for _, part in found], np.float64)
    return ids, np.clip(parts / (weight if weight > 0 else _LEAST_WEIGHT), 0, _K1 + 1)
