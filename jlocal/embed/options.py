"""Options that are handed on as one value: how a model is computed, how texts become vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

# llama.cpp is loaded by whoever computes.
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jlocal.embed.embedder import OnLong
    from jlocal.embed.loading import Pooling
    from jlocal.llama.choice import ComputeType


@dataclass(frozen=True)
class ComputeOptions:
    """How a model is computed; see `Embedder`.

    Attributes:
        threads: CPU threads; None takes one for each physical core.
        gpu_layers: layers on a GPU; -1 for all, None for all if they fit.
        compute_type: "stored", "bfloat16", "int8" or "auto".
        capture: whether hidden states are captured; None chooses by the model.

    """

    threads: int | None = None
    gpu_layers: int | None = None
    compute_type: ComputeType = "auto"
    capture: bool | None = None


class ComputeArguments(TypedDict, total=False):
    """`ComputeOptions` as keyword arguments."""

    threads: int | None
    gpu_layers: int | None
    compute_type: ComputeType
    capture: bool | None


class EmbedderArguments(ComputeArguments, total=False):
    """Keyword arguments of `Embedder` that mean something here, but for the model."""

    pooling: Pooling | None
    truncate_dim: int | None
    prompts: Mapping[str, str] | None
    default_prompt_name: str | None
    on_long: OnLong
    task: str | None
    device: object
    similarity_fn_name: object
    local_files_only: bool


@dataclass(frozen=True)
class EncodeOptions:
    """How texts become vectors; the fields are arguments of `Embedder.encode`."""

    prompt_name: str | None = None
    prompt: str | None = None
    truncate_dim: int | None = None
    precision: str = "float32"
