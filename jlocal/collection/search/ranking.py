"""Search: find candidates by words and by meaning, and rank them by their fused scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jlocal.collection.database.bm25 import Scores
from jlocal.collection.database.connect import translated_errors
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import Ids
from jlocal.collection.search import fusion
from jlocal.collection.search.hits import Hit, Scored, hits_of
from jlocal.collection.search.nearest import all_cosines, nearest_by_codes
from jlocal.collection.search.pathfilter import PathFilter, path_filter
from jlocal.vectors import Floats

# Reading this many vectors from the file takes about as long as reading 100,000 codes.
_EXACT = 5000
# How many candidates by codes are compared exactly, by the dimensions of the vectors: fewer signs
# tell less, and need more candidates.
_CANDIDATES, _DIMENSIONS = 1000, 1024
# How many candidates come from words; and how many passages of how many documents from paths.
_BY_WORDS, _DOCUMENTS, _OF_EACH = 300, 20, 16

Mode = Literal["both", "words", "meaning"]
MODES: tuple[Mode, ...] = ("both", "words", "meaning")


def search(
    store: Store,
    query: Floats | None,
    n: int,
    path: PathFilter | None = None,
    min_score: float | None = None,
    *,
    text: str | None = None,
    weight: float = fusion.WEIGHT,
    exact: bool | None = None,
) -> list[Hit]:
    """Rank the documents that answer a query, best first.

    Args:
        store: an open collection.
        query: (d,) float32 of unit length; None compares only words.
        n: the most hits.
        path: the documents to search, see `path_filter`.
        min_score: the least score.
        text: the query's words; None compares only vectors.
        weight: of meaning beside words, see `fusion.weight_of`.
        exact: compare all vectors, or only those whose signs agree best with the query; None
            decides by their number.

    Raises:
        CollectionError: the file cannot be read.

    """
    store.use_path_filter(path_filter(path))
    with translated_errors(store.path), store.snapshot():
        allowed = None if path is None else store.passages_under()
        words = paths = None
        if text is not None:
            words, paths = store.words(text, allowed), store.path_words(text)
        running = _Search(store, n, min_score, allowed, words, paths)
        return running.by_words() if query is None else running.by_meaning(query, weight, exact)


@dataclass(frozen=True)
class _Search:
    """A running search, limited to the passages `allowed` unless it is None."""

    store: Store
    n: int
    min_score: float | None
    allowed: Ids | None
    words: Scores | None
    paths: Scores | None

    def by_words(self) -> list[Hit]:
        """Find passages that have words of the query."""
        self._check(self.store.count_passages() <= _EXACT)
        words = self.words or Scores.none()
        ids = np.union1d(words.ids, self._by_paths())
        scale = fusion.Scale.of_words(words.terms, self.store.count_passages())
        bm25 = words.of(ids)
        return self._hits(Scored.best_first(ids, bm25, scale, bm25=bm25), self.n)[0]

    def by_meaning(self, query: Floats, weight: float, exact: bool | None) -> list[Hit]:
        """Find the passages nearest to a query (d,), or with words, of the best fused scores."""
        count = self.store.count_passages() if self.allowed is None else len(self.allowed)
        if exact is None:
            exact = count <= _EXACT
        self._check(exact)
        more = self._by_paths()
        if self.words:
            more = np.union1d(more, self.words.best(_BY_WORDS))
        n = self.n
        requested = count if exact else max(_CANDIDATES, 20 * n) * max(1, _DIMENSIONS // len(query))
        while True:
            if exact:
                ids, cosines = all_cosines(self.store, query, self.allowed)
                background = cosines
            else:
                ids, cosines, background = nearest_by_codes(
                    self.store, query, self.allowed, requested
                )
            is_all = len(ids) < min(requested, count) or requested >= count
            if len(others := np.setdiff1d(more, ids)):
                others, theirs = all_cosines(self.store, query, others)
                ids, cosines = np.concatenate([ids, others]), np.concatenate([cosines, theirs])
            meaning = fusion.Background.of(background)
            scored = self._scored(ids, cosines, meaning, weight, len(cosines) if exact else count)
            hits, n = self._hits(scored, n)
            # Many passages of the same documents may leave too few documents.
            if len(hits) >= n or is_all:
                return hits
            requested *= 8

    def _check(self, exact: bool) -> None:
        if exact:
            self.store.check_links()
        else:
            self.store.check_codes()

    def _scored(
        self, ids: Ids, cosines: Floats, background: fusion.Background, weight: float, passages: int
    ) -> Scored:
        if self.words is None:
            scale = fusion.Scale.of_meaning(background, passages)
            return Scored.best_first(ids, cosines, scale, cosines=cosines)
        bm25 = self.words.of(ids)
        terms = self.words.terms
        fused = fusion.fused(bm25, background.z_scores(cosines), weight, terms)
        scale = fusion.Scale.of_both(terms, passages, weight)
        return Scored.best_first(ids, fused, scale, cosines=cosines, bm25=bm25)

    def _hits(self, scored: Scored, n: int) -> tuple[list[Hit], int]:
        return hits_of(self.store, scored, n, self.paths, self._by_paths(), self.min_score)

    def _by_paths(self) -> Ids:
        """Find passages of the documents whose paths score best."""
        if self.paths is None:
            return np.empty(0, np.int64)
        passages = self.store.passages_in(self.paths.best(_DOCUMENTS), _OF_EACH)
        return passages if self.allowed is None else np.intersect1d(passages, self.allowed)
