"""The base of all integrations: one loaded model per process for a file and its options."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal.arguments import check_texts, of_keywords, wrong
from jlocal.embed.embedder import Embedder, OnLong
from jlocal.embed.options import ComputeArguments, ComputeOptions
from jlocal.errors import ArgumentError
from jlocal.models import names
from jlocal.models.prompts import document_prompt, query_prompt
from jlocal.vectors import Vectors

if TYPE_CHECKING:
    from typing_extensions import Unpack

_loaded: dict[tuple[str, ComputeOptions], Embedder] = {}
_loading = threading.Lock()
if hasattr(os, "register_at_fork"):
    # The threads that compute do not survive a fork.
    os.register_at_fork(after_in_child=_loaded.clear)


def shared_embedder(
    model: str | Path | None = None,
    *,
    truncate_dim: int | None = None,
    task: str | None = None,
    on_long: OnLong = "error",
    **compute: Unpack[ComputeArguments],
) -> Embedder:
    """Return an Embedder that shares its loaded model; thread-safe.

    All Embedders from here with the same file and compute options have one model, and each its own
    `truncate_dim` and `on_long`. Closing one frees the model of all of them; the next call loads it
    again.

    Args:
        model: as in `Embedder`.
        truncate_dim: as in `Embedder`.
        task: as in `Embedder`.
        on_long: as in `Embedder`.
        **compute: `threads`, `gpu_layers`, `compute_type` and `capture` of `Embedder`.

    Raises:
        ModelError: the file cannot be found, read, or used for embeddings.
        ArgumentError: the file has no such task or dimension.

    """
    if on_long not in ("error", "truncate"):
        raise wrong("on_long", on_long, "it is 'error' or 'truncate'")
    path = os.path.abspath(names.resolve(names.default_model() if model is None else model))  # noqa: PTH100
    key = path, ComputeOptions(**compute)
    with _loading:
        loaded = _loaded.get(key)
        if loaded is None or loaded.is_closed:
            loaded = _loaded[key] = Embedder(path, **compute)
    embedder = copy.copy(loaded)
    embedder.truncate_dim, embedder.on_long = truncate_dim, on_long
    embedder.encode([], task=task, truncate_dim=truncate_dim)  # checks both
    return embedder


class SharedArguments(ComputeArguments, total=False):
    """Keyword arguments of every integration, all of them as in `Embedder`.

    `truncate_dim`, `task` and `on_long`; and `threads`, `gpu_layers`, `compute_type` and `capture`.
    """

    truncate_dim: int | None
    task: str | None
    on_long: OnLong


@dataclass(frozen=True)
class SharedModel:
    """A model as integrations name it, loaded on first use; pickled and compared by its arguments.

    Attributes:
        model: its name or path.
        truncate_dim: as in `Embedder`.
        task: as in `Embedder`.
        on_long: as in `Embedder`.
        threads: as in `Embedder`.
        gpu_layers: as in `Embedder`.
        compute_type: as in `Embedder`.
        capture: as in `Embedder`.

    """

    model: str
    truncate_dim: int | None = None
    task: str | None = None
    on_long: OnLong = "error"
    threads: int | None = None
    gpu_layers: int | None = None
    compute_type: str = "auto"
    capture: bool | None = None

    @classmethod
    def of(
        cls, function: str, model: str | Path | None, arguments: SharedArguments | dict[str, Any]
    ) -> SharedModel:
        """Name a model; nothing is loaded.

        Args:
            function: who has these arguments.
            model: its name or path; None takes the default model, whose name is kept, so that
                vectors that are stored and later queries have the same one.
            arguments: the others.

        Raises:
            ModelError: several models are on this machine, and None names one of them.
            TypeError: there is no such argument.

        """
        name = names.default_model() if model is None else os.fspath(model)
        return of_keywords(cls, function, {"model": name, **arguments})

    def __reduce__(self) -> tuple[object, ...]:
        return SharedModel, tuple(getattr(self, field.name) for field in fields(self))

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments but the model that differ from their defaults, as JSON knows them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {
            field.name: values[field.name]
            for field in fields(self)[1:]
            if values[field.name] != field.default
        }

    @cached_property
    def embedder(self) -> Embedder:
        """The loaded model.

        Raises:
            JlocalError: as in `shared_embedder`.

        """
        return shared_embedder(self.model, **self.arguments)

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self.embedder.get_embedding_dimension()

    def queries(self, texts: Iterable[str]) -> Vectors:
        """Embed queries, to (n, d) float32.

        Raises:
            JlocalError: as in `Embedder.encode`; or it is a single text.

        """
        return self.embedder.encode_query(_several(texts))

    def documents(self, texts: Iterable[str]) -> Vectors:
        """Embed documents, to (n, d) float32.

        Raises:
            JlocalError: as in `queries`.

        """
        return self.embedder.encode_document(_several(texts))

    @property
    def prompts(self) -> dict[str, str]:
        """The prefixes of queries and documents, under "query" and "document"."""
        prompts = self.embedder.prompts
        sides = {"query": query_prompt(prompts), "document": document_prompt(prompts)}
        return {side: prompts[name] for side, name in sides.items() if name is not None}


def _several(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise ArgumentError("the texts are a single str; pass a list of str", argument="texts")
    return list(check_texts(texts))
