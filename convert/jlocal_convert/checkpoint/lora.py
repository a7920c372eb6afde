"""LoRA adapters: the matrices that an adapter changes, and their deltas.

Source of the format and its meaning: PEFT (tuners/lora/config.py, tuners/lora/model.py). The delta
of a matrix is (B @ A) * scale with scale = alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA.
An option that this module cannot reproduce exactly is an error that names it: an adapter that was
skipped, in whole or in part, would only show in worse results.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.json_config import JsonConfig, read_json_config
from jlocal_convert.checkpoint.patterns import first_match, targets
from jlocal_convert.checkpoint.safetensors import StoredTensor, read_header, read_rows

_MAX_RANK = 8192
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(\.[^.]+)?\.weight")

# Keys that do not change the merged weights, or are read below. `fan_in_fan_out` is here because
# PEFT itself switches it off for torch.nn.Linear, and these backbones have no other matrices.
_HARMLESS = frozenset(
    {
        *(
            "alpha_pattern",
            "bias",
            "fan_in_fan_out",
            "init_lora_weights",
            "lora_alpha",
            "peft_type",
        ),
        *("r", "rank_pattern", "target_modules", "use_rslora"),
        *("exclude_modules", "layers_pattern", "layers_to_transform"),
        # Keys of training, or of other implementations of the same sum.
        *("auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying"),
        *("eva_config", "inference_mode", "lora_dropout", "lora_ga_config", "megatron_core"),
        *("peft_version", "qalora_group_size", "revision", "runtime_config", "task_type"),
    }
)
# Other initialisations change the base weights, which then differ from those on disk.
_INITIALISATIONS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class LowRank:
    """The change of one matrix: `a` has shape (r, columns), `b` (rows, r)."""

    a: StoredTensor
    b: StoredTensor
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the changed matrix."""
        return self.b.shape[0], self.a.shape[1]

    def rows(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Compute rows of the delta, shape (count, columns)."""
        delta = read_rows(self.b, first, count) @ read_rows(self.a)
        delta *= np.float32(self.scale)
        return delta


@dataclass(frozen=True)
class Adapter:
    """A checked adapter: its folder, and its deltas by module name."""

    folder: Path
    deltas: Mapping[str, LowRank]


def read_adapter(folder: Path, matrices: Mapping[str, tuple[int, ...]]) -> Adapter:
    """Read an adapter for a backbone.

    Args:
        folder: the folder of adapter_config.json and adapter_model.safetensors.
        matrices: the backbone's matrices by module name (`layers.0.mlp.up_proj`), with shapes.

    Raises:
        CheckpointError: the adapter cannot be merged exactly, is incomplete, or belongs to
            another backbone.

    """
    config = read_json_config(folder / "adapter_config.json")
    _check_config(config)
    factors = _factors(read_header(folder / "adapter_model.safetensors"), folder)
    modules = {module.removeprefix("model."): module for module in factors}
    prefix = "model." if any(module.startswith("model.") for module in factors) else ""
    _check_modules(config, set(modules), matrices, prefix)
    deltas = {}
    for name, module in modules.items():
        sides = factors[module]
        if set(sides) != {"A", "B"}:
            raise CheckpointError(
                f"{folder} lacks lora_A or lora_B of {module}; it is incomplete", path=folder
            )
        deltas[name] = _delta(config, module, sides["A"], sides["B"])
        if deltas[name].shape != matrices[name]:
            raise CheckpointError(
                f"{folder} is an adapter of another backbone: it changes {name} of shape "
                f"{deltas[name].shape}, which has shape {matrices[name]} here",
                path=folder,
            )
    return Adapter(folder, deltas)


def _check_config(config: JsonConfig) -> None:
    if config.get("peft_type") != "LORA":
        raise config.wrong("peft_type", "'LORA'; other adapters cannot be merged")
    for key, value in config.items():
        # PEFT writes unused options as null, false or empty.
        if key not in _HARMLESS and value not in (None, False, 0, "", [], {}):
            raise config.wrong(key, f"unset; an adapter with {key} cannot be merged exactly")
    if config.get("bias", "none") != "none":
        raise config.wrong("bias", "'none'; an adapter with bias cannot be merged")
    if config.get("init_lora_weights") not in _INITIALISATIONS:
        raise config.wrong(
            "init_lora_weights",
            "an initialisation that keeps the base weights; merge the adapter with PEFT",
        )


def _factors(
    tensors: Mapping[str, StoredTensor], folder: Path
) -> dict[str, dict[str, StoredTensor]]:
    """Map the module names of the adapter to their "A" and "B"."""
    factors: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if not match:
            raise CheckpointError(
                f"{folder} has the tensor {name!r}, which cannot be merged", path=folder
            )
        sides = factors.setdefault(match["module"], {})
        if match["side"] in sides:
            raise CheckpointError(
                f"{folder} has two lora_{match['side']} for {match['module']}", path=folder
            )
        if len(tensor.shape) != 2:
            raise CheckpointError(
                f"{folder}: {name!r} has shape {tensor.shape}, not a matrix", path=folder
            )
        sides[match["side"]] = tensor
    if len({module.startswith("model.") for module in factors}) > 1:
        raise CheckpointError(
            f"{folder} names modules with and without `model.`; keep one", path=folder
        )
    return factors


def _check_modules(
    config: JsonConfig, stored: set[str], modules: Collection[str], prefix: str
) -> None:
    """Compare the adapter's tensors with the modules that its configuration names."""
    folder = config.path.parent
    if foreign := sorted(stored.difference(modules)):
        raise CheckpointError(
            f"{folder} is an adapter of another backbone: it changes {foreign[0]}"
            f"{_and_others(foreign)}, which this backbone does not have",
            path=folder,
        )
    named = targets(config, modules, prefix)
    if missing := sorted(named - stored):
        raise CheckpointError(
            f"{folder} has no weights for {missing[0]}{_and_others(missing)}, which its "
            "target_modules name: it is incomplete, or of another backbone",
            path=folder,
        )
    if extra := sorted(stored - named):
        raise CheckpointError(
            f"{folder} has weights for {extra[0]}{_and_others(extra)}, which its target_modules "
            "do not name, or which its exclude_modules or layers_to_transform exclude",
            path=folder,
        )
    if not stored:
        raise CheckpointError(
            f"{folder} changes nothing: it has no weights and no target_modules", path=folder
        )


def _delta(config: JsonConfig, module: str, a: StoredTensor, b: StoredTensor) -> LowRank:
    rank = config.integer("r", _MAX_RANK)
    ranks, alphas = config.section("rank_pattern"), config.section("alpha_pattern")
    if (key := first_match(ranks, module)) is not None:
        rank = ranks.integer(key, _MAX_RANK)
    alpha = config.number("lora_alpha")
    if (key := first_match(alphas, module)) is not None:
        alpha = alphas.number(key)
    if a.shape[0] != rank or b.shape[1] != rank:
        raise CheckpointError(
            f"{config.path.parent}: the factors of {module} have shapes {b.shape} and {a.shape}, "
            f"but its configuration says rank {rank}",
            path=config.path.parent,
        )
    return LowRank(a, b, alpha / (rank**0.5 if config.flag("use_rslora", False) else rank))


def _and_others(names: list[Any]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
