"""Collection: the public object over a file of embedded texts."""

from __future__ import annotations

from jlocal.collection.indexing import IndexedCollection
from jlocal.collection.pathfilter import PathFilter
from jlocal.collection.search import MODES, Hit, Mode, search
from jlocal.errors import ArgumentError


class Collection(IndexedCollection):
    """Texts and their vectors in one SQLite file; thread-safe, and a context manager.

    A collection has one model, prompt, dimension and way of cutting texts, which the first
    `index` settles. The model is loaded when it is first needed. Any thread may search while
    another indexes, and finds what is finished. What was written survives a killed process and a
    power cut; the texts that were being embedded, a few hundred at most, are embedded again by
    the next `index`.
    """

    def search(
        self,
        query: str,
        n: int = 10,
        path: PathFilter | None = None,
        *,
        mode: Mode = "both",
        min_score: float | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[Hit]:
        """Find what is nearest to a query, best first, each document or PDF page once.

        Args:
            query: what to look for.
            n: the most hits.
            path: a glob: without a slash the name of a file or of a folder above it, with one the
                end of a path; or a function that tells of a path whether it is meant.
            mode: what is compared: "words", "meaning" or "both".
            min_score: the least cosine.
            prompt_name: as in `Embedder.encode`; by default the one for queries.
            prompt: as in `Embedder.encode`.

        Raises:
            ArgumentError: the query is empty, or the model has no such prompt.
            CollectionError: there is no such collection, or another model made it.
            ModelError: the model cannot be found or loaded.
            TextError: the query cannot be embedded.

        """
        if not query.strip():
            raise ArgumentError("the query is empty")
        if n < 1:
            raise ArgumentError(f"n={n}; it is at least 1")
        if mode not in MODES:
            raise ArgumentError(f"mode={mode!r}; choose one of: {', '.join(MODES)}")
        if mode == "words":
            raise ArgumentError("this collection has no index of words yet; use mode='meaning'")
        with self._unless_closed():
            recipe = self.recipe
            vector = self._load(recipe).encode_query(
                query, prompt_name, prompt, truncate_dim=recipe.dimensions
            )
            with self._readers.one() as store:
                return search(store, vector, n, path, min_score)
