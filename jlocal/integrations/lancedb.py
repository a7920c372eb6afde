"""LanceDB: embeddings registered as "jlocal". Import this module before you open such a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jlocal.extras import importing
from jlocal.integrations.shared import SharedModel
from jlocal.vectors import Floats

with importing("lancedb", "jlocal.integrations.lancedb needs"):
    from lancedb.embeddings import TextEmbeddingFunction, register
    from pydantic import AliasChoices, ConfigDict, Field, PrivateAttr

_OWN = ("truncate_dim", "task", "on_long", "threads", "gpu_layers", "compute_type", "capture")


@register("jlocal")
class JlocalEmbeddings(TextEmbeddingFunction):
    """Embeds rows as documents and searches as queries; `get_registry().get("jlocal").create()`.

    The fields are arguments of `Embedder`; `name` is another word for `model`. The model is loaded
    on first use, so that tables can be opened without it. A row without a text has no vector.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    # Other functions of LanceDB call it `name`.
    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "name"))
    truncate_dim: int | None = None
    task: str | None = None
    on_long: str = "error"
    threads: int | None = None
    gpu_layers: int | None = None
    compute_type: str = "auto"
    capture: bool | None = None
    _model: SharedModel = PrivateAttr()

    def __init__(self, **arguments: Any) -> None:
        """Name a model; nothing is loaded.

        Raises:
            ModelError: several models are on this machine, and none is named.
            ValueError: there is no such argument.

        """
        super().__init__(**arguments)
        own = {name: getattr(self, name) for name in _OWN}
        self._model = SharedModel.of(type(self).__name__, self.model, own)

    def ndims(self) -> int:
        """Return the length of the vectors."""
        return self._model.dimensions

    def generate_embeddings(
        self, texts: Sequence[str | None], *args: Any, **kwargs: Any
    ) -> list[Floats | None]:
        """Embed documents, of which some may be missing."""
        del args, kwargs
        listed = list(texts)
        vectors = iter(self._model.documents([text for text in listed if text is not None]))
        return [None if text is None else next(vectors) for text in listed]

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Floats]:
        """Embed a query, or several."""
        del args, kwargs
        return list(self._model.queries(self.sanitize_input(query)))

    # LanceDB would repeat a failed call for minutes, and then hide the error; no second call of
    # jlocal has another outcome.

    def compute_source_embeddings_with_retry(
        self, texts: Any, *args: Any, **kwargs: Any
    ) -> list[Floats | None]:
        """Embed a column of documents."""
        found: list[Floats | None] = self.compute_source_embeddings(texts, *args, **kwargs)
        return found

    def compute_query_embeddings_with_retry(
        self, query: Any, *args: Any, **kwargs: Any
    ) -> list[Floats]:
        """Embed a query, or several."""
        return self.compute_query_embeddings(query, *args, **kwargs)

    def safe_model_dump(self) -> dict[str, Any]:
        """Return the arguments that LanceDB stores with a table, to make this object again."""
        return {"model": self._model.model, **self._model.arguments}
