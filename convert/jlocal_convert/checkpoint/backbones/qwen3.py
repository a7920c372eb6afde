"""Qwen3, the causal decoder under jina-embeddings-v5-text-small."""

from __future__ import annotations

from jlocal_convert.checkpoint.backbones.backbone import Backbone, read_backbone
from jlocal_convert.checkpoint.folder import Checkpoint


def backbone(checkpoint: Checkpoint) -> Backbone:
    """Read a Qwen3 checkpoint.

    Raises:
        CheckpointError: see `read_backbone`; also for a bidirectional Qwen3.

    """
    if checkpoint.config.get("is_causal") is False:
        raise checkpoint.config.wrong("is_causal", "true: llama.cpp's Qwen3 is causal")
    # Without head_dim in config.json, transformers assumes 128, whatever the weights are.
    shape = checkpoint.tensors["layers.0.self_attn.q_norm.weight"].shape
    head_dim = shape[0] if shape else 0
    return read_backbone(checkpoint, "qwen3", causal=True, normed_heads=True, head_dim=head_dim)
