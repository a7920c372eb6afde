"""The translation of sentence-transformers' arguments and objects to jlocal's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from jlocal import extras
from jlocal.arguments import wrong
from jlocal.caller import warn
from jlocal.errors import ArgumentError, IgnoredArgumentWarning
from jlocal.terms import Argument
from jlocal.vectors import Vectors

# Arguments of `SentenceTransformer` that have no effect here, and why.
_IGNORED = {
    "modules": "a GGUF file holds the whole model",
    "cache_folder": "`jlocal list` shows where models are; HF_HUB_CACHE moves downloads",
    "trust_remote_code": "no code of a model is ever run",
    "revision": "nothing is downloaded here; name the file",
    "token": "nothing is downloaded here; `jlocal pull` reads HF_TOKEN",
    "use_auth_token": "nothing is downloaded here; `jlocal pull` reads HF_TOKEN",
    "model_kwargs": "llama.cpp computes, not transformers; see compute_type",
    "processor_kwargs": "the tokenizer is in the GGUF file",
    "tokenizer_kwargs": "the tokenizer is in the GGUF file",
    "config_kwargs": "the configuration is in the GGUF file",
    "backend": "llama.cpp computes",
}
_DEFAULTS = {"backend": "torch"}
# The keys by which jina's models take their task.
_TASK_KEYS = ("default_task", "task")
_TO_TENSOR = Argument("convert_to_tensor", True)
_GPUS = ("cuda", "gpu", "mps", "metal", "xpu", "vulkan", "rocm", "hip")


def warn_of_ignored(arguments: Mapping[str, object]) -> None:
    """Warn once of all passed arguments of `SentenceTransformer` that have no effect here."""
    ignored = [name for name, value in arguments.items() if value and value != _DEFAULTS.get(name)]
    if ignored:
        reasons = "; ".join(f"{name} ({_IGNORED[name]})" for name in ignored)
        noun, verb = ("argument", "does") if len(ignored) == 1 else ("arguments", "do")
        warn(
            IgnoredArgumentWarning(
                f"{noun} of SentenceTransformer that {verb} nothing in an Embedder: {reasons}"
            )
        )


def split_task(
    task: str | None, model_kwargs: Mapping[str, Any] | None
) -> tuple[str | None, dict[str, Any]]:
    """Return the task, also from `model_kwargs`, and the remaining `model_kwargs`."""
    rest = dict(model_kwargs or {})
    named = [rest.pop(key) for key in _TASK_KEYS if key in rest]
    return task or next(filter(None, named), None), rest


def check_prompts(prompts: object) -> None:
    """Check that prompts are a mapping of names to texts.

    Raises:
        ArgumentError: the prompts are anything else.

    """
    if not isinstance(prompts, Mapping) or not all(
        isinstance(part, str) for item in prompts.items() for part in item
    ):
        raise ArgumentError(
            'prompts is a mapping of names to texts, such as {"query": "Query: "}',
            argument="prompts",
        )


def layers_on(device: object, gpu_layers: int | None) -> int | None:
    """Return the `gpu_layers` that correspond to a torch device.

    Args:
        device: "cpu", "cuda", "cuda:0", "mps"…, or a torch.device; None keeps `gpu_layers`.
        gpu_layers: the `gpu_layers` argument.

    Raises:
        ArgumentError: there is no such device, or the two contradict each other.

    """
    if device is None:
        return gpu_layers
    kind = str(device).partition(":")[0].lower()
    if kind == "cpu":
        if gpu_layers:
            raise ArgumentError(
                f"device='cpu' contradicts gpu_layers={gpu_layers}", argument="device"
            )
        return 0
    if kind not in _GPUS:
        raise wrong("device", str(device), "it is 'cpu', 'cuda' or 'mps'")
    if gpu_layers == 0:
        raise ArgumentError(f"device={str(device)!r} contradicts gpu_layers=0", argument="device")
    return -1 if gpu_layers is None else gpu_layers


# Tensors


def has_torch() -> bool:
    """Tell whether torch is installed."""
    return extras.is_installed("torch")


def is_tensor(value: object) -> bool:
    """Tell whether a value is a torch tensor or a list of tensors, without importing torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(item, torch.Tensor) for item in value)
    return isinstance(value, torch.Tensor)


def as_array(value: Any) -> Vectors:
    """Return a tensor, or a list of tensors, as an array; return other values unchanged."""
    if not is_tensor(value):
        return cast(Vectors, value)
    import torch

    tensor = torch.stack(list(value)) if isinstance(value, (list, tuple)) else value
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy knows no bfloat16
    return cast(Vectors, tensor.numpy())


def check_torch() -> None:
    """Raise ExtraError if torch is not installed."""
    extras.require("torch", f"{_TO_TENSOR} needs", _TO_TENSOR)


def as_tensor(array: Vectors, like: Any = None) -> Any:
    """Return an array as a torch tensor, on the device of the tensor `like`.

    Raises:
        ExtraError: torch is not installed.

    """
    with extras.importing("torch", f"{_TO_TENSOR} needs", _TO_TENSOR):
        import torch
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    first = like[0] if isinstance(like, (list, tuple)) else like
    return tensor if first is None else tensor.to(first.device)


class ModelCardData:
    """The place for the metrics of sentence-transformers' evaluators.

    Attributes:
        evaluation_metrics: the metrics of each evaluator, under its name.

    """

    def __init__(self) -> None:
        self.evaluation_metrics: dict[str, dict[str, Any]] = {}

    def set_evaluation_metrics(
        self, evaluator: object, metrics: Mapping[str, Any], epoch: int = 0, step: int = 0
    ) -> None:
        """Keep the metrics of an evaluator."""
        del epoch, step
        name = getattr(evaluator, "name", "") or type(evaluator).__name__
        self.evaluation_metrics[name] = dict(metrics)
