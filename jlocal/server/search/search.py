"""Searching a collection with the server's own copy of its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.errors import CollectionError, EmptyCollectionError, OtherConfigError
from jlocal.server.models import ModelPool
from jlocal.server.problem import Kind, Problem
from jlocal.server.search.collections import CollectionPool, Contents, ServedCollection
from jlocal.server.search.question import Question

if TYPE_CHECKING:
    from jlocal.collection.collection import Collection
    from jlocal.collection.config import CollectionConfig
    from jlocal.collection.search.hits import Hit
    from jlocal.embed.embedder import Embedder


async def search(
    collections: CollectionPool, models: ModelPool, served: ServedCollection, question: Question
) -> list[dict[str, object]]:
    """Search a collection; return hits as JSON values, best first.

    Raises:
        Problem: its model is missing, or it has been changed meanwhile.
        JlocalError: the collection or the model cannot be read.

    """
    contents = await collections.run(served.contents)
    config = contents.config
    if config is None:
        raise EmptyCollectionError(served.path)
    if question.mode == "words":
        return await collections.run(_search, served, contents, question, None)
    model = models.for_file(await collections.run(_model_file, served, config))
    if model.profile.pooling != config.pooling:
        # The model's file names no pooling; the collection loads it with its own.
        return await collections.run(_search, served, contents, question, None)
    async with models.loaded_model(model) as embedder:
        return await collections.run(_search, served, contents, question, embedder)


def best_first(hits: Sequence[dict[str, object]], n: int) -> list[dict[str, object]]:
    """Order the hits of several collections by relevance, which alone can be compared."""

    def relevance(hit: dict[str, object]) -> float:
        value = hit["relevance"]
        return -value if isinstance(value, float) else 0.0

    return sorted(hits, key=relevance)[:n]


def _model_file(served: ServedCollection, config: CollectionConfig) -> Path:
    from jlocal.collection.opening import model_file

    try:
        return model_file(config, served.path)
    except CollectionError:
        raise Problem(
            Kind.UNAVAILABLE,
            f"the model of collection {served.name}, {config.model}, is not on this machine; "
            'search with mode "words", which needs none',
            parameter="mode",
        ) from None


def _search(
    served: ServedCollection, contents: Contents, question: Question, embedder: Embedder | None
) -> list[dict[str, object]]:
    from jlocal.excerpts.terms import Terms
    from jlocal.server.search.answers import hit_values

    collection = served.collection
    if embedder is not None and collection.model is not embedder:
        collection.use_model(embedder)
    hits = _hits(served.name, collection, contents, question)
    terms = Terms(question.query)
    return [
        hit_values(hit, served.name, contents.names, terms, has_text=question.has_text)
        for hit in hits
    ]


def _hits(name: str, collection: Collection, contents: Contents, question: Question) -> list[Hit]:
    try:
        return collection.search(
            question.query,
            question.n,
            contents.names.filter(question.path, question.folders),
            mode=question.mode,
            min_score=question.min_score,
        )
    except OtherConfigError:
        raise Problem(
            Kind.UNAVAILABLE,
            f"collection {name} was made with another version of its model, or is being made "
            'anew; search again, or with mode "words"',
            parameter="mode",
            retry_after=1,
        ) from None
