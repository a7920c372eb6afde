"""The Llama-like stack of layers that Qwen3 and EuroBERT share.

Source of names and metadata keys: llama.cpp's conversion/base.py and gguf's constants.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.folder import Checkpoint
from jlocal_convert.checkpoint.json_config import JsonConfig

_MAX_LAYERS = 1024
_MAX_SIZE = 1 << 24

# llama.cpp's graphs of these networks compute the same function only with these values.
_REQUIRED: Mapping[str, Any] = {
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "partial_rotary_factor": 1.0,
    "use_sliding_window": False,
}


@dataclass(frozen=True)
class Target:
    """A tensor of the GGUF file: its name there, its name in the checkpoint, its shape."""

    name: str
    source: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Backbone:
    """A network's shape, read from its configuration.

    Attributes:
        architecture: llama.cpp's name for the network.
        head_dim: length of one head's query.
        explicit_head_dim: whether the configuration states `head_dim`, which otherwise follows
            from the other numbers.
        causal: whether a token attends only to itself and the tokens before it.

    """

    architecture: str
    vocabulary: int
    context: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    explicit_head_dim: bool
    ffn: int
    rope_theta: float
    rms_epsilon: float
    causal: bool
    normed_heads: bool

    def targets(self) -> list[Target]:
        """List all tensors of the GGUF file."""
        targets = [
            Target("token_embd.weight", "embed_tokens.weight", (self.vocabulary, self.hidden))
        ]
        for layer in range(self.layers):
            for name, (source, shape) in self._layer().items():
                targets.append(
                    Target(f"blk.{layer}.{name}.weight", f"layers.{layer}.{source}.weight", shape)
                )
        return [*targets, Target("output_norm.weight", "norm.weight", (self.hidden,))]

    def _layer(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        tensors: dict[str, tuple[str, tuple[int, ...]]] = {
            "attn_norm": ("input_layernorm", (self.hidden,)),
            "attn_q": ("self_attn.q_proj", (queries, self.hidden)),
            "attn_k": ("self_attn.k_proj", (keys, self.hidden)),
            "attn_v": ("self_attn.v_proj", (keys, self.hidden)),
            "attn_output": ("self_attn.o_proj", (self.hidden, queries)),
            "ffn_norm": ("post_attention_layernorm", (self.hidden,)),
            "ffn_gate": ("mlp.gate_proj", (self.ffn, self.hidden)),
            "ffn_up": ("mlp.up_proj", (self.ffn, self.hidden)),
            "ffn_down": ("mlp.down_proj", (self.hidden, self.ffn)),
        }
        if self.normed_heads:
            tensors["attn_q_norm"] = ("self_attn.q_norm", (self.head_dim,))
            tensors["attn_k_norm"] = ("self_attn.k_norm", (self.head_dim,))
        return tensors

    def write_metadata(self, writer: Any) -> None:
        """Add the hyper-parameters to a gguf.GGUFWriter."""
        import gguf

        writer.add_block_count(self.layers)
        writer.add_context_length(self.context)
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.ffn)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        if self.explicit_head_dim:
            writer.add_key_length(self.head_dim)
            writer.add_value_length(self.head_dim)
        writer.add_rope_freq_base(self.rope_theta)
        writer.add_layer_norm_rms_eps(self.rms_epsilon)
        if not self.causal:
            writer.add_causal_attention(False)
            writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        # The model code pools the last token; the base checkpoints themselves do not say so.
        writer.add_pooling_type(gguf.PoolingType.LAST)


def read_backbone(
    checkpoint: Checkpoint, architecture: str, *, causal: bool, normed_heads: bool, head_dim: int
) -> Backbone:
    """Read the settings that both networks share, and check that all tensors fit.

    Args:
        checkpoint: the checkpoint.
        architecture: llama.cpp's name for the network.
        causal: see `Backbone`.
        normed_heads: whether queries and keys are normalised head by head.
        head_dim: default where config.json has none; 0 for hidden size / heads.

    Raises:
        CheckpointError: a value is missing or not supported, or a tensor is missing, unused or
            of another shape.

    """
    config = checkpoint.config
    for key, value in _REQUIRED.items():
        if config.get(key, value) not in (value, None):
            raise config.wrong(key, f"{value!r}: llama.cpp cannot compute this {architecture}")
    hidden = config.integer("hidden_size", _MAX_SIZE)
    heads = config.integer("num_attention_heads", _MAX_SIZE)
    backbone = Backbone(
        architecture=architecture,
        vocabulary=config.integer("vocab_size", _MAX_SIZE),
        context=config.integer("max_position_embeddings", _MAX_SIZE),
        hidden=hidden,
        layers=config.integer("num_hidden_layers", _MAX_LAYERS),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", heads, heads),
        head_dim=config.integer("head_dim", _MAX_SIZE, head_dim or hidden // heads),
        explicit_head_dim=head_dim > 0 or config.get("head_dim") is not None,
        ffn=config.integer("intermediate_size", _MAX_SIZE),
        rope_theta=_rope_theta(config),
        rms_epsilon=config.number("rms_norm_eps"),
        causal=causal,
        normed_heads=normed_heads,
    )
    if heads % backbone.kv_heads:
        raise config.wrong("num_key_value_heads", f"a divisor of num_attention_heads, {heads}")
    _check_tensors(checkpoint, backbone)
    return backbone


def _rope_theta(config: JsonConfig) -> float:
    """Read the base of the rotary positions from its older or its newer key."""
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.section(key)
        rope_type = rope.get("rope_type", rope.get("type"))
        if rope_type not in (None, "default"):
            raise config.wrong(key, "of type 'default'; other rope scaling is not supported")
        if rope.get("partial_rotary_factor") not in (None, 1, 1.0):
            raise config.wrong(key, "without partial_rotary_factor")
    newer = config.section("rope_parameters")
    written = [where for where in (config, newer) if where.get("rope_theta") is not None]
    bases = {where.number("rope_theta") for where in written}
    if len(bases) != 1:
        raise CheckpointError(
            f"{config.path} has {len(bases) or 'no'} rope_theta; it needs one", path=config.path
        )
    return bases.pop()


def _check_tensors(checkpoint: Checkpoint, backbone: Backbone) -> None:
    unused = set(checkpoint.tensors)
    for target in backbone.targets():
        tensor = checkpoint.tensors.get(target.source)
        if tensor is None:
            raise CheckpointError(
                f"{checkpoint.folder} has no tensor {target.source!r}", path=checkpoint.folder
            )
        if tensor.shape != target.shape:
            raise CheckpointError(
                f"{checkpoint.folder}: {target.source!r} has shape {tensor.shape}, but config.json "
                f"asks for {target.shape}",
                path=checkpoint.folder,
            )
        unused.discard(target.source)
    # An embedding model has no use for the vocabulary head that some checkpoints keep.
    unused.discard("lm_head.weight")
    if unused:
        raise CheckpointError(
            f"{checkpoint.folder} has the tensor {min(unused)!r}, which {backbone.architecture} "
            f"does not use ({len(unused)} unused in all); this variant cannot be converted",
            path=checkpoint.folder,
        )
