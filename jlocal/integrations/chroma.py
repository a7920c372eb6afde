"""Chroma: `JlocalEmbeddingFunction`. Import this module before you reopen a collection with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jlocal.extras import importing
from jlocal.integrations.shared import SharedArguments, SharedModel

with importing("chroma", "jlocal.integrations.chroma needs"):
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings
    from chromadb.utils.embedding_functions import register_embedding_function

if TYPE_CHECKING:
    from typing_extensions import Unpack


@register_embedding_function
class JlocalEmbeddingFunction(EmbeddingFunction[Documents]):
    """Embeds documents and queries with their prompts; it shares a loaded model."""

    def __init__(self, model: str | None = None, **arguments: Unpack[SharedArguments]) -> None:
        """Name a model, which is loaded on first use, so that collections can be listed without it.

        Args:
            model: path of a GGUF file, or a name, as in `Embedder`.
            **arguments: those of `SharedArguments`.

        """
        self._model = SharedModel.of(type(self).__name__, model, arguments)

    def __call__(self, input: Documents) -> Embeddings:
        """Embed documents."""
        return list(self._model.documents(input))

    def embed_query(self, input: Documents) -> Embeddings:
        """Embed queries."""
        return list(self._model.queries(input))

    @staticmethod
    def name() -> str:
        """Return the name under which Chroma keeps it."""
        return "jlocal"

    def default_space(self) -> str:
        """Return the distance of a new collection."""
        return "cosine"

    def supported_spaces(self) -> list[str]:
        """List the distances."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Return the argument of `build_from_config`."""
        return {"model": self._model.model, **self._model.arguments}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> JlocalEmbeddingFunction:
        """Make a function from the result of `get_config`."""
        return JlocalEmbeddingFunction(**config)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Refuse another length of vectors; the file of a model may be moved.

        Raises:
            ValueError: the lengths differ.

        """
        if old_config.get("truncate_dim") != new_config.get("truncate_dim"):
            raise ValueError("truncate_dim cannot be changed: the vectors have another length")
