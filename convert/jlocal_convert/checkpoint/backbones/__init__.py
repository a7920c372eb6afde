"""The two networks that can be converted, told apart by what a checkpoint contains.

`architectures` does not help: the base checkpoints of small and nano both say
`JinaEmbeddingsV5Model`.
"""

from __future__ import annotations

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.backbones import eurobert, qwen3
from jlocal_convert.checkpoint.backbones.backbone import Backbone
from jlocal_convert.checkpoint.folder import Checkpoint


def identify(checkpoint: Checkpoint) -> Backbone:
    """Find out which network a checkpoint holds, and check it against that network.

    Raises:
        CheckpointError: it is another network, or a variant that llama.cpp does not compute.

    """
    config = checkpoint.config
    normed = "layers.0.self_attn.q_norm.weight" in checkpoint.tensors
    encoder = config.get("is_decoder") is False or config.get("model_type") == "eurobert"
    if normed and not encoder:
        return qwen3.backbone(checkpoint)
    if encoder and not normed:
        return eurobert.backbone(checkpoint)
    raise CheckpointError(
        f"{checkpoint.folder} is neither Qwen3 (q_norm weights) nor EuroBERT "
        '("is_decoder": false): only the backbones of jina-embeddings-v5-text can be converted',
        path=checkpoint.folder,
    )
