"""The network and its adapters as a checkpoint in the layout of jina-embeddings-v5-text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from starter.batches import PROMPTS
from starter.loss import DIMENSIONS
from starter.network import PROJECTIONS, Linear, Network, Shape
from starter.tokenizer import END, end_of

TASKS = ("retrieval", "text-matching", "clustering", "classification")
METADATA = {"format": "pt"}
CARD = """---
license: apache-2.0
language:
- en
---

# jlocal starter

The starter model of jlocal; the card is starter/README.md there.
"""


def write_backbone(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the checkpoint without the adapters; weights as BF16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in network.named_parameters()
        if ".lora." not in name
    }
    save_file(weights, folder / "model.safetensors", METADATA)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    end = end_of(tokenizer)
    write(folder / "config.json", config(network.shape, end))
    write(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": True,
            "clean_up_tokenization_spaces": False,
            "eos_token": END,
            "model_max_length": network.shape.context,
            "pad_token": END,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    write(
        folder / "config_sentence_transformers.json",
        {
            "default_prompt_name": "document",
            "prompts": dict(zip(("query", "document"), PROMPTS, strict=True)),
            "similarity_fn_name": "cosine",
        },
    )
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    write(
        folder / "modules.json",
        [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}],
    )


def write_adapter(network: Network, task: str, folder: Path) -> None:
    """Write the network's adapter of a task; weights as BF16."""
    target = folder / "adapters" / task
    target.mkdir(parents=True, exist_ok=True)
    weights = {}
    rank, alpha = 0, 0.0
    for name, module in network.named_modules():
        if isinstance(module, Linear) and module.lora is not None:
            lora = module.lora
            rank = len(lora.a)
            alpha = lora.scale * rank
            for side, tensor in (("A", lora.a), ("B", lora.b)):
                key = f"base_model.model.{name}.lora_{side}.weight"
                weights[key] = tensor.detach().to(torch.bfloat16).contiguous()
    save_file(weights, target / "adapter_model.safetensors", METADATA)
    write(
        target / "adapter_config.json",
        {
            "alpha_pattern": {},
            "bias": "none",
            "lora_alpha": int(alpha),
            "lora_dropout": 0.0,
            "modules_to_save": None,
            "peft_type": "LORA",
            "r": rank,
            "rank_pattern": {},
            "target_modules": list(PROJECTIONS),
            "use_dora": False,
            "use_rslora": False,
        },
    )


def config(shape: Shape, end: int) -> dict[str, Any]:
    """Return the content of config.json."""
    return {
        "architectures": ["JinaEmbeddingsV5Model"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "eos_token_id": end,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "matryoshka_dims": [size for size in DIMENSIONS if size <= shape.hidden],
        "max_position_embeddings": shape.context,
        "model_type": "jina_embeddings_v5",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.heads,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.theta,
        "task_names": list(TASKS),
        "torch_dtype": "bfloat16",
        "vocab_size": shape.vocabulary,
    }


def write(path: Path, values: Any) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
