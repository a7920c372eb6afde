"""EuroBERT, the bidirectional encoder under jina-embeddings-v5-text-nano."""

from __future__ import annotations

from jlocal_convert.checkpoint.backbones.backbone import Backbone, read_backbone
from jlocal_convert.checkpoint.folder import Checkpoint


def backbone(checkpoint: Checkpoint) -> Backbone:
    """Read a EuroBERT checkpoint.

    Raises:
        CheckpointError: see `read_backbone`; also if heads * head_dim is not the hidden size, as
            llama.cpp assumes.

    """
    network = read_backbone(checkpoint, "eurobert", causal=False, normed_heads=False, head_dim=0)
    if network.heads * network.head_dim != network.hidden:
        raise checkpoint.config.wrong("num_attention_heads", "hidden_size / head_dim")
    return network
