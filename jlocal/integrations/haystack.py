"""Haystack: `JlocalTextEmbedder` for queries and `JlocalDocumentEmbedder` for documents.

A pipeline that has them is loaded from YAML with `Pipeline.loads(text, allowed_modules=
["jlocal.integrations.haystack"])`: Haystack loads classes of known modules only.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jlocal.arguments import listed
from jlocal.errors import ArgumentError, TextError
from jlocal.extras import importing
from jlocal.integrations.shared import SharedArguments, SharedModel

with importing("haystack", "jlocal.integrations.haystack needs"):
    from haystack import Document, component, default_from_dict, default_to_dict

if TYPE_CHECKING:
    from typing_extensions import Unpack


@component
class JlocalTextEmbedder:
    """Embeds a text, with the prompt for queries; it shares a loaded model."""

    def __init__(self, model: str | None = None, **arguments: Unpack[SharedArguments]) -> None:
        """Name a model; `warm_up`, or the first run, loads it.

        Args:
            model: path of a GGUF file, or a name, as in `Embedder`.
            **arguments: those of `SharedArguments`.

        """
        self._model = SharedModel.of(type(self).__name__, model, arguments)

    def warm_up(self) -> None:
        """Load the model, or share the one that is loaded."""
        self._model.embedder  # noqa: B018

    def to_dict(self) -> dict[str, Any]:
        """Return the argument of `from_dict`."""
        made: dict[str, Any] = default_to_dict(
            self, model=self._model.model, **self._model.arguments
        )
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> JlocalTextEmbedder:
        """Make an embedder from the result of `to_dict`."""
        made: JlocalTextEmbedder = default_from_dict(cls, data)
        return made

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a text.

        Raises:
            TextError: it is no text, or cannot be embedded.

        """
        if not isinstance(text, str):
            raise TextError(f"is of type {type(text).__name__}; JlocalTextEmbedder embeds str", 0)
        return {"embedding": self._model.queries([text])[0].tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Embed a text in another thread; see `run`."""
        return await asyncio.to_thread(self.run, text)


@component
class JlocalDocumentEmbedder:
    """Embeds documents, with the prompt for documents; it shares a loaded model."""

    def __init__(
        self,
        model: str | None = None,
        *,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = "\n",
        **arguments: Unpack[SharedArguments],
    ) -> None:
        """Name a model; `warm_up`, or the first run, loads it.

        Args:
            model: path of a GGUF file, or a name, as in `Embedder`.
            meta_fields_to_embed: names of metadata that stand before the content of a document.
            embedding_separator: stands between these and the content.
            **arguments: those of `SharedArguments`.

        """
        self._model = SharedModel.of(type(self).__name__, model, arguments)
        self._fields = listed("meta_fields_to_embed", meta_fields_to_embed)
        self._separator = embedding_separator

    def warm_up(self) -> None:
        """Load the model, or share the one that is loaded."""
        self._model.embedder  # noqa: B018

    def to_dict(self) -> dict[str, Any]:
        """Return the argument of `from_dict`."""
        made: dict[str, Any] = default_to_dict(
            self,
            model=self._model.model,
            meta_fields_to_embed=self._fields,
            embedding_separator=self._separator,
            **self._model.arguments,
        )
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> JlocalDocumentEmbedder:
        """Make an embedder from the result of `to_dict`."""
        made: JlocalDocumentEmbedder = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return copies of documents that have an embedding.

        Raises:
            ArgumentError: the documents are not a list of Document.
            TextError: a document cannot be embedded.

        """
        if not isinstance(documents, list) or not all(
            isinstance(document, Document) for document in documents
        ):
            raise ArgumentError(
                "JlocalDocumentEmbedder embeds a list of Document; for a text take "
                "JlocalTextEmbedder",
                argument="documents",
            )
        vectors = self._model.documents([self._text(document) for document in documents])
        return {
            "documents": [
                dataclasses.replace(document, embedding=vector.tolist())
                for document, vector in zip(documents, vectors, strict=True)
            ]
        }

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents in another thread; see `run`."""
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        values = (document.meta.get(field) for field in self._fields)
        parts = [str(value) for value in values if value is not None]
        return self._separator.join([*parts, document.content or ""])
