"""The two supported backbones, identified by a checkpoint's configuration and tensors.

`architectures` does not distinguish them: the base checkpoints of small and nano both say
`JinaEmbeddingsV5Model`.
"""

from __future__ import annotations

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.backbones import eurobert, qwen3
from jlocal_convert.checkpoint.backbones.backbone import Backbone
from jlocal_convert.checkpoint.folder import Checkpoint


def identify(checkpoint: Checkpoint) -> Backbone:
    """Identify the backbone of a checkpoint, and check the checkpoint against it.

    Raises:
        CheckpointError: the backbone is another network, or a variant that llama.cpp does not
            support.

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
