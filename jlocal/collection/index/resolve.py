"""Resolve the config of a collection: requested values first, then its own, then defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.store import Store
from jlocal.errors import ArgumentError, CollectionError
from jlocal.models.chunking import default_chunking
from jlocal.models.prompts import document_prompt
from jlocal.printable import printable
from jlocal.terms import Argument

if TYPE_CHECKING:
    from jlocal.embed.embedder import Embedder

_CHUNK, _OVERLAP = Argument("chunk"), Argument("overlap")


@dataclass(frozen=True)
class ConfigOptions:
    """The requested config, as the arguments of `Collection.index`."""

    chunk: int | Literal["auto"] | None = "auto"
    overlap: int | None = None
    fields: Sequence[str] = ()
    prompt_name: str | None = None
    prompt: str | None = None
    truncate_dim: int | None = None


def made_with(store: Store) -> CollectionConfig | None:
    """Read the config; None if there are no vectors that new ones must match."""
    return store.config() if store.has_documents() or store.has_passages() else None


def resolve_config(
    options: ConfigOptions, model: Embedder, sha256: str, made: CollectionConfig | None
) -> CollectionConfig:
    """Resolve the config of new vectors.

    Args:
        options: the requested values.
        model: the model.
        sha256: of its file, in hexadecimal.
        made: the config of the vectors so far; None if there are none.

    Raises:
        ArgumentError: the model does not support an option.

    """
    prompt_name, prompt = options.prompt_name, options.prompt
    if prompt is None and prompt_name is None:
        prompt_name = document_prompt(model.prompts)
        prompt = made.prompt if made else None
    chunk, overlap = options.chunk, options.overlap
    default = default_chunking(model.profile)
    if chunk == "auto":
        chunk = made.chunk if made else default.tokens
    if overlap is None:
        overlap = made.overlap if made and made.chunk == chunk else default.overlap if chunk else 0
    dimensions = made.dimensions if made else model.get_embedding_dimension()
    config = CollectionConfig(
        model=printable(model.profile.name),
        model_path=str(model.profile.path.absolute()),
        model_sha256=sha256,
        pooling=model.profile.pooling,
        prompt=model.prompt_text(prompt, prompt_name),
        dimensions=options.truncate_dim or dimensions,
        precision="float32",
        compute_type=made.compute_type if made else model.compute_type,
        chunk=chunk,
        overlap=overlap,
        fields=tuple(options.fields) or (made.fields if made else ()),
        headings=made.headings if made else chunk is not None and default.headings,
    )
    _check_chunks(config, model)
    return config


def resolve_same_config(
    options: ConfigOptions, model: Embedder, sha256: str, made: CollectionConfig | None, path: Path
) -> CollectionConfig:
    """Resolve the config of new vectors that can be mixed with the vectors in the file at `path`.

    Raises:
        ArgumentError: the model does not support an option.
        CollectionError: the file has another config.

    """
    if made is None:
        return resolve_config(options, model, sha256, made)
    try:
        config = resolve_config(options, model, sha256, made)
    except ArgumentError as error:
        terms = error.message.terms
        raise CollectionError(f"{path} cannot be added to: {error}", *terms, path=path) from None
    made.check_same(config, path)
    return config


def _check_chunks(config: CollectionConfig, model: Embedder) -> None:
    if config.chunk is None:
        if config.overlap:
            raise ArgumentError(f"{_OVERLAP} needs {_CHUNK}", _OVERLAP, _CHUNK, argument="overlap")
        return
    from jlocal.collection.chunking.chunks import check_size

    check_size(
        config.chunk,
        config.overlap,
        lambda text: len(model.tokenize(text, config.prompt)),
        model.max_seq_length,
    )
