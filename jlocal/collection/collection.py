"""Collection: the public object over a file of embedded texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, overload

from jlocal.arguments import check_texts, no_text, whole, wrong
from jlocal.collection.database.metadata import condition
from jlocal.collection.search.fusion import weight_of
from jlocal.collection.search.hits import Hit
from jlocal.collection.search.pathfilter import PathFilter, both, chosen_paths
from jlocal.collection.search.ranking import MODES, Mode, search
from jlocal.collection.texts import TextCollection
from jlocal.errors import ArgumentError, TextError
from jlocal.vectors import Floats

# More hits than a collection can have.
_MOST = 1 << 31


class Collection(TextCollection):
    """Texts and their vectors in one SQLite file; thread-safe, and a context manager.

    A collection has one model, prompt, dimension and chunk size, which the first `index` fixes. The
    model is loaded on first use. Any thread may search while another indexes, and finds the
    documents written so far. Written documents survive a killed process and a power cut; the texts
    in hand, a few hundred at most, are embedded again by the next `index`.
    """

    @overload
    def search(
        self,
        query: str,
        n: int = ...,
        path: PathFilter | None = ...,
        *,
        mode: Mode = ...,
        where: Mapping[str, Any] | None = ...,
        min_score: float | None = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
    ) -> list[Hit]: ...

    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        n: int = ...,
        path: PathFilter | None = ...,
        *,
        mode: Mode = ...,
        where: Mapping[str, Any] | None = ...,
        min_score: float | None = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
    ) -> list[list[Hit]]: ...

    def search(
        self,
        query: str | Sequence[str],
        n: int = 10,
        path: PathFilter | None = None,
        *,
        mode: Mode = "both",
        where: Mapping[str, Any] | None = None,
        min_score: float | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """Find the passages that answer a query, best first, one of each document or PDF page.

        Args:
            query: a query, or several, which are embedded together.
            n: the most hits.
            path: a glob: without a slash, it matches the name of a file or of a folder above it;
                with a slash, the end of a path. Or a function that tells whether to search a path.
            mode: compare "words", "meaning" or "both". Words need no model.
            where: a condition on the metadata of added texts, such as `{"author": "Ann", "year":
                {"$gt": 2020}}` (`jlocal.collection.database.metadata.condition`). Files have none.
            min_score: the least score of a hit: relevance, from 0 to 1, in mode "both", the cosine
                in "meaning", BM25 in "words".
            prompt_name: as in `Embedder.encode`; by default the one for queries.
            prompt: as in `Embedder.encode`.

        Returns:
            The hits, best first; for several queries, a list for each.

        Raises:
            ArgumentError: the query is empty, or the model has no such prompt.
            CollectionError: there is no such collection, or another model made it.
            ModelError: the model cannot be found or loaded.
            TextError: the query cannot be embedded.

        """
        queries = _queries(query)
        n = min(whole("n", n, 1), _MOST)
        if min_score is not None and not isinstance(min_score, Real):
            raise wrong("min_score", min_score, "it is a number")
        if mode not in MODES:
            raise wrong("mode", mode, f"choose one of: {', '.join(MODES)}")
        holds = None if where is None else condition(where)
        with self._unless_closed():
            hits = None
            while hits is None:
                config = self.config
                vectors: Iterable[Floats | None] = [None] * len(queries)
                if mode != "words":
                    vectors = self._load(config).encode_query(
                        queries, prompt_name, prompt, truncate_dim=config.dimensions
                    )
                texts = [None if mode == "meaning" else text for text in queries]
                weight = weight_of(config.model)
                with (
                    self._readers.one() as store,
                    chosen_paths(path) as chosen,
                    store.snapshot(),
                ):
                    if store.config() != config:
                        continue  # The collection was made anew since the query was embedded.
                    if holds:
                        chosen = both(chosen, store.matching(holds))
                    hits = [
                        search(store, vector, n, chosen, min_score, text=text, weight=weight)
                        for vector, text in zip(vectors, texts, strict=True)
                    ]
        return hits[0] if isinstance(query, str) else hits


def _queries(query: str | Sequence[str]) -> list[str]:
    queries = [query] if isinstance(query, str) else list(check_texts(query))
    for index, text in enumerate(queries):
        if not isinstance(text, str):
            raise TextError(no_text(text), index)
        if not text.strip():
            raise ArgumentError("the query is empty", argument="queries")
    return queries
