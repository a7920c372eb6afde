"""LangChain: `JlocalEmbeddings`, and `JlocalRetriever` over a Collection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal.collection.collection import Collection
from jlocal.collection.search.pathfilter import PathFilter
from jlocal.collection.search.ranking import Mode
from jlocal.extras import importing
from jlocal.integrations.hits import Search, metadata
from jlocal.integrations.shared import SharedArguments, SharedModel

with importing("langchain", "jlocal.integrations.langchain needs"):
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from pydantic import ConfigDict

if TYPE_CHECKING:
    from typing_extensions import Unpack


class JlocalEmbeddings(Embeddings):
    """Embeddings of a GGUF file; asynchronous calls compute in another thread."""

    def __init__(
        self, model: str | Path | None = None, **arguments: Unpack[SharedArguments]
    ) -> None:
        """Load a model, or share the one that is loaded.

        Args:
            model: path of a GGUF file, or a name, as in `Embedder`.
            **arguments: those of `SharedArguments`.

        Raises:
            JlocalError: as in `shared_embedder`.

        """
        self._model = SharedModel.of(type(self).__name__, model, arguments)
        self._model.embedder  # noqa: B018 - a wrong name should fail here

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents, with the prompt for documents."""
        vectors: list[list[float]] = self._model.documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, with the prompt for queries."""
        vector: list[float] = self._model.queries([text])[0].tolist()
        return vector


class JlocalRetriever(BaseRetriever):
    """Finds passages in a Collection by words and meaning.

    The fields are arguments of `Collection.search`; `k` is its `n`. Documents have the metadata of
    their texts, and the hit's: "source" (a path or an id), "first_line", "last_line", "page",
    "headings", "score" and "relevance".
    """

    model_config = ConfigDict(extra="forbid")

    collection: Collection
    k: int = 4
    mode: Mode = "both"
    path: PathFilter | None = None
    where: Mapping[str, Any] | None = None
    min_score: float | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        del run_manager
        search = Search(self.collection, self.k, self.mode, self.path, self.where, self.min_score)
        return [
            Document(page_content=hit.text, metadata=metadata(hit), id=hit.id)
            for hit in search.hits(query)
        ]
