"""LlamaIndex: `JlocalEmbedding`, and `JlocalRetriever` over a Collection."""

from __future__ import annotations

import asyncio
from typing import Any

from jlocal.collection.collection import Collection
from jlocal.extras import importing
from jlocal.integrations.hits import Search, metadata
from jlocal.integrations.shared import SharedModel

with importing("llama-index", "jlocal.integrations.llama_index needs"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode


class JlocalEmbedding(BaseEmbedding):
    """Embeddings of a GGUF file; asynchronous calls compute in another thread.

    The arguments are those of `Embedder`: `model_name` (a name or a path), `truncate_dim`, `task`,
    `on_long`, `threads`, `gpu_layers` and `compute_type`; and those of LlamaIndex.
    """

    truncate_dim: int | None = None
    task: str | None = None
    on_long: str = "error"
    threads: int | None = None
    gpu_layers: int | None = None
    compute_type: str = "auto"
    # A call plans its batches by tokens: it should have many texts.
    embed_batch_size: int = Field(default=512, gt=0, le=2048)
    _model: SharedModel = PrivateAttr()

    def __init__(self, model_name: str | None = None, **arguments: Any) -> None:
        """Load a model, or share the one that is loaded.

        Raises:
            ModelError: the file cannot be found, read, or used for embeddings.
            ArgumentError: the file has no such task or dimension.
            TypeError: there is no such argument.

        """
        # LlamaIndex ignores them; a model that is named by another word would be the default model.
        if unknown := arguments.keys() - type(self).model_fields.keys():
            raise TypeError(
                f"{type(self).__name__}() got an unexpected keyword argument {min(unknown)!r}; "
                "the model is model_name"
            )
        own = {name: arguments[name] for name in _OWN if name in arguments}
        model = SharedModel.of(type(self).__name__, model_name, own)
        super().__init__(model_name=model.model, **arguments)
        self._model = model
        self._model.embedder  # noqa: B018 - a wrong name should fail here

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores it."""
        return "JlocalEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._model.queries([query])[0].tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.documents(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


_OWN = ("truncate_dim", "task", "on_long", "threads", "gpu_layers", "compute_type")


class JlocalRetriever(BaseRetriever):
    """Finds passages in a Collection by words and meaning.

    Nodes have the metadata of their texts, and the hit's: "source" (a path or an id), "first_line",
    "last_line", "page", "headings", "score" and "relevance".
    """

    def __init__(self, collection: Collection, similarity_top_k: int = 4, **arguments: Any) -> None:
        """Search in a collection.

        Args:
            collection: where to search.
            similarity_top_k: the most hits.
            **arguments: `mode`, `path`, `where` and `min_score`, as in `Collection.search`; and
                those of LlamaIndex's BaseRetriever.

        """
        names = ("mode", "path", "where", "min_score")
        own = {name: arguments.pop(name) for name in names if name in arguments}
        self._search = Search(collection, similarity_top_k, **own)
        super().__init__(**arguments)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        nodes = []
        for hit in self._search.hits(query_bundle.query_str):
            node = TextNode(text=hit.text, metadata=metadata(hit))
            if hit.id is not None:
                node.id_ = hit.id
            nodes.append(NodeWithScore(node=node, score=float(hit.score)))
        return nodes

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
