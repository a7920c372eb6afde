"""Small random checkpoints in the published layout of jina-embeddings-v5-text.

The tokenizers are the real ones, so a checkpoint keeps its full vocabulary; everything else is as
small as it can be while attention, feed-forward and adapters still show in the vectors.
This module needs neither torch nor the packages under test.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from support.safetensors import (
    Tensors,
    read_safetensors,
    read_weights,
    write_json,
    write_safetensors,
    write_weights,
)

Backbone = Literal["qwen3", "eurobert"]

TASKS = ("retrieval", "text-matching", "clustering", "classification")
DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Shape:
    """The numbers that determine the shapes of all tensors."""

    backbone: Backbone
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int

    def projections(self) -> Iterator[tuple[str, int, int]]:
        """Name, rows and columns of every matrix that an adapter changes."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {
            "self_attn.q_proj": (queries, self.hidden),
            "self_attn.k_proj": (keys, self.hidden),
            "self_attn.v_proj": (keys, self.hidden),
            "self_attn.o_proj": (self.hidden, queries),
            "mlp.gate_proj": (self.ffn, self.hidden),
            "mlp.up_proj": (self.ffn, self.hidden),
            "mlp.down_proj": (self.hidden, self.ffn),
        }
        for layer in range(self.layers):
            for name, (rows, columns) in shapes.items():
                yield f"layers.{layer}.{name}", rows, columns

    def norms(self) -> Iterator[tuple[str, int]]:
        """Name and length of every norm's weight."""
        for layer in range(self.layers):
            yield f"layers.{layer}.input_layernorm", self.hidden
            yield f"layers.{layer}.post_attention_layernorm", self.hidden
            if self.backbone == "qwen3":
                yield f"layers.{layer}.self_attn.q_norm", self.head_dim
                yield f"layers.{layer}.self_attn.k_norm", self.head_dim
        yield "norm", self.hidden


def shape_of(
    backbone: Backbone,
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    ffn: int | None = None,
) -> Shape:
    """Fill in missing numbers, in the proportions of small and nano."""
    if backbone == "qwen3":
        return Shape(
            backbone,
            hidden,
            layers,
            heads,
            kv_heads or heads // 2,
            head_dim or 2 * hidden // heads,
            ffn or 3 * hidden,
            151936,
        )
    return Shape(
        backbone,
        hidden,
        layers,
        heads,
        kv_heads or heads,
        hidden // heads,
        ffn or 4 * hidden,
        128256,
    )


def build(
    folder: Path,
    backbone: Backbone,
    *,
    tasks: tuple[str, ...] = TASKS,
    dtype: str = "BF16",
    shards: int = 1,
    prefix: str = "",
    rope_parameters: bool = False,
    rank: int = 8,
    adapter_name: str = "",
    adapter: dict[str, Any] | None = None,
    seed: int = 0,
    **shape: int,
) -> Path:
    """Write a base checkpoint: one backbone, an adapter for each task.

    Args:
        folder: where to; made if missing.
        backbone: "qwen3" as in small, "eurobert" as in nano.
        tasks: which adapters to write.
        dtype: of every tensor: F32, F16 or BF16.
        shards: more than one writes model-0000N-of-0000M.safetensors and an index.
        prefix: put before each backbone tensor's name, "model." for instance.
        rope_parameters: write rope as newer transformers do.
        rank: of the adapters.
        adapter_name: put into the adapters' tensor names, as some PEFT versions do.
        adapter: what to change in adapter_config.json (`use_rslora`, `rank_pattern`...).
        seed: of all weights.
        shape: hidden, layers, heads, kv_heads, head_dim, ffn: see `shape_of`.

    """
    size = shape_of(backbone, **shape)
    folder.mkdir(parents=True, exist_ok=True)
    config = model_config(size, rope_parameters=rope_parameters)
    config |= {
        "architectures": ["JinaEmbeddingsV5Model"],
        "model_type": "jina_embeddings_v5",
        "task_names": list(TASKS),
    }
    write_json(folder / "config.json", config)
    write_common(folder, backbone)
    weights = {prefix + name: w for name, w in backbone_tensors(size, seed).items()}
    write_weights(folder, weights, dtype, shards)
    for number, task in enumerate(tasks, start=1):
        options = adapter_config(rank) | (adapter or {})
        target = folder / "adapters" / task
        write_adapter(target, size, options, seed * 100 + number, dtype=dtype, name=adapter_name)
    return folder


def write_adapter(
    target: Path,
    size: Shape,
    options: dict[str, Any],
    seed: int,
    *,
    dtype: str = "BF16",
    name: str = "",
) -> None:
    """Write an adapter into a new folder; a name is put into the names of its tensors."""
    target.mkdir(parents=True)
    write_json(target / "adapter_config.json", options)
    infix = f".{name}" if name else ""
    pairs = adapter_tensors(size, options, seed)
    named = {
        f"base_model.model.{module}.lora_{side}{infix}.weight": w
        for (module, side), w in pairs.items()
    }
    write_safetensors(target / "adapter_model.safetensors", named, dtype)


def merged(base: Path, task: str, folder: Path, *, dtype: str = "BF16", shards: int = 1) -> Path:
    """Write the merged repository of one task: without adapters, with its own architecture."""
    config = json.loads((base / "config.json").read_text())
    del config["task_names"]
    folder.mkdir(parents=True, exist_ok=True)
    backbone: Backbone = "eurobert" if "is_decoder" in config else "qwen3"
    write_common(folder, backbone)
    if backbone == "qwen3":
        config |= {"architectures": ["Qwen3Model"], "model_type": "qwen3"}
    else:
        config |= {"model_type": "eurobert"}
        write_pooling(folder, config["hidden_size"])
    write_json(folder / "config.json", config)
    source = base / "adapters" / task
    options = json.loads((source / "adapter_config.json").read_text())
    weights = read_weights(base)
    adapter = read_safetensors(source / "adapter_model.safetensors")
    for key in [key for key in adapter if ".lora_A." in key]:
        name = key.removeprefix("base_model.model.").split(".lora_A.")[0]
        down, up = adapter[key], adapter[key.replace(".lora_A.", ".lora_B.")]
        weight = next(w for w in (name, f"model.{name}") if f"{w}.weight" in weights)
        weights[f"{weight}.weight"] += (up @ down) * scale_of(options, name)
    write_weights(folder, weights, dtype, shards)
    return folder


# The weights


def backbone_tensors(shape: Shape, seed: int = 0) -> Tensors:
    """Random weights under which each part of the network matters.

    What attention and feed-forward add must outweigh the last token's own embedding: for nano that
    token is the same in every text. Larger gains would also make rounding to Q8_0 matter.
    """
    random = np.random.default_rng(seed)

    def normal(rows: int, columns: int, gain: float = 1.0) -> npt.NDArray[np.float32]:
        values = random.standard_normal((rows, columns), dtype=np.float32)
        return values * np.float32(gain / columns**0.5)

    tensors = {"embed_tokens.weight": normal(shape.vocabulary, shape.hidden, 8)}
    for name, rows, columns in shape.projections():
        tensors[f"{name}.weight"] = normal(rows, columns, 2.0 if name.endswith("o_proj") else 1.0)
    for name, length in shape.norms():
        noise = random.standard_normal(length, dtype=np.float32)
        tensors[f"{name}.weight"] = 1 + np.float32(0.1) * noise
    return tensors


def adapter_tensors(
    shape: Shape, options: dict[str, Any], seed: int
) -> dict[tuple[str, str], npt.NDArray[np.float32]]:
    """(projection, "A" or "B") -> factor; their product is a third as large as the weight."""
    random = np.random.default_rng(seed)
    factors = {}
    for name, rows, columns in shape.projections():
        if name.split(".")[-1] not in options["target_modules"]:
            continue
        rank = pattern(options["rank_pattern"], name, options["r"])
        size = 0.35 / (scale_of(options, name) * (rank * columns) ** 0.5)
        for side, dimensions, gain in (("A", (rank, columns), 1.0), ("B", (rows, rank), size)):
            values = random.standard_normal(dimensions, dtype=np.float32)
            factors[name, side] = values * np.float32(gain)
    return factors


def scale_of(options: dict[str, Any], name: str) -> float:
    """The factor of B @ A in LoRA."""
    rank = pattern(options["rank_pattern"], name, options["r"])
    alpha = pattern(options["alpha_pattern"], name, options["lora_alpha"])
    return float(alpha / (rank**0.5 if options["use_rslora"] else rank))


def pattern(table: dict[str, int], name: str, default: int) -> int:
    """PEFT's rule: a key is a regular expression for the end of the module's name."""
    matching = (value for key, value in table.items() if re.match(rf"(.*\.)?({key})$", name))
    return next(matching, default)


# The files


def model_config(shape: Shape, *, rope_parameters: bool = False) -> dict[str, Any]:
    """The content of config.json."""
    small = shape.backbone == "qwen3"
    theta = 3_500_000 if small else 1_000_000
    config: dict[str, Any] = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": 32768 if small else 8192,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-6 if small else 1e-5,
        "vocab_size": shape.vocabulary,
    }
    if rope_parameters:
        config["rope_parameters"] = {"rope_theta": theta, "rope_type": "default"}
    else:
        config |= {"rope_theta": theta, "rope_scaling": None}
    if small:
        config |= {
            "bos_token_id": 151643,
            "eos_token_id": 151643,
            "head_dim": shape.head_dim,
            "tie_word_embeddings": True,
        }
    else:
        config |= {
            "bos_token_id": 128000,
            "eos_token_id": 128001,
            "is_decoder": False,
            "mask_token_id": 128002,
            "pad_token_id": 128001,
            "tie_word_embeddings": False,
        }
    return config


def adapter_config(rank: int) -> dict[str, Any]:
    """The content of adapter_config.json; as published, alpha equals the rank."""
    return {
        "alpha_pattern": {},
        "base_model_name_or_path": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {},
        "target_modules": [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")],
        "task_type": "FEATURE_EXTRACTION",
        "use_dora": False,
        "use_rslora": False,
    }


def write_common(folder: Path, backbone: Backbone) -> None:
    """Write the files that base and merged repositories share: tokenizer, prompts, model card."""
    (folder / "tokenizer.json").write_bytes(tokenizer_json(backbone))
    (folder / "tokenizer_config.json").write_bytes(tokenizer_config(backbone))
    prompts = {"query": "Query: ", "document": "Document: "}
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": prompts,
            "default_prompt_name": "document",
            "similarity_fn_name": "cosine",
        },
    )
    transformer = {"idx": 0, "name": "transformer", "path": "", "type": "custom_st.Transformer"}
    write_json(folder / "modules.json", [transformer | {"kwargs": ["task", "truncate_dim"]}])
    (folder / "README.md").write_text(
        "---\nlicense: cc-by-nc-4.0\nlanguage:\n- multilingual\n---\n\n# Random weights for tests\n"
    )


def write_pooling(folder: Path, dimension: int) -> None:
    """Write the Pooling module of sentence-transformers: last token."""
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    write_json(
        folder / "modules.json",
        [
            {
                "idx": number,
                "name": str(number),
                "path": path,
                "type": f"sentence_transformers.models.{name}",
            }
            for number, (name, path) in enumerate(modules)
        ],
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": dimension,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_lasttoken": True,
            "include_prompt": True,
        },
    )


@cache
def tokenizer_json(backbone: Backbone) -> bytes:
    """Return the real tokenizer of the backbone."""
    name = "qwen3" if backbone == "qwen3" else "nano"
    return lzma.decompress((DATA / f"{name}-tokenizer.json.xz").read_bytes())


@cache
def tokenizer_config(backbone: Backbone) -> bytes:
    """Return Qwen3's real tokenizer_config.json; nano's follows from its tokenizer.json."""
    if backbone == "qwen3":
        return lzma.decompress((DATA / "qwen3-tokenizer_config.json.xz").read_bytes())
    added = json.loads(tokenizer_json(backbone))["added_tokens"]
    config = {
        "added_tokens_decoder": {str(token.pop("id")): token for token in added},
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|end_of_text|>",
        "mask_token": "<|mask|>",
        "pad_token": "<|pad|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    return json.dumps(config, indent=2).encode()
