"""Qwen3 for training: right-padded batches, one vector for each text, from the end token.

The arithmetic is that of transformers' Qwen3Model (grouped-query attention left out: there are as
many key heads as heads). Work that no vector depends on is saved: in the last layer, only the row
of the end token is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int = 16_384
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    ffn: int = 768
    context: int = 4096
    theta: float = 1_000_000.0
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.hidden // self.heads


class LoRA(nn.Module):
    """The change of a matrix product by an adapter: (x @ A.T) @ B.T * scale."""

    def __init__(self, rows: int, columns: int, rank: int, scale: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Compute the addition for x (..., columns)."""
        return functional.linear(functional.linear(x, self.a), self.b) * self.scale


class Linear(nn.Linear):
    """A matrix without bias that an adapter may change."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows, bias=False)
        self.lora: LoRA | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        y = super().forward(x)
        return y if self.lora is None else y + self.lora(x)


class Norm(nn.Module):
    """RMSNorm over the last dimension."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Causal attention; `ends` asks for the rows of the end tokens only."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        for name in PROJECTIONS[:4]:
            self.add_module(name, Linear(shape.hidden, shape.hidden))
        self.q_norm = Norm(shape.head_dim, shape.eps)
        self.k_norm = Norm(shape.head_dim, shape.eps)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], ends: Tensor | None) -> Tensor:
        """Attend: (batch, tokens, hidden) to the same, or to (batch, 1, hidden)."""
        cos, sin = rope
        keys = rotate(self.k_norm(self.split(self.k_proj(x))), cos, sin).transpose(1, 2)
        values = self.split(self.v_proj(x)).transpose(1, 2)
        if ends is None:
            queries = rotate(self.q_norm(self.split(self.q_proj(x))), cos, sin).transpose(1, 2)
            positions = torch.arange(x.shape[1])
            seen = (positions[None, :] <= positions[:, None])[None, None]
        else:
            last = x[torch.arange(len(x)), ends][:, None]
            turned = self.q_norm(self.split(self.q_proj(last)))
            queries = rotate(turned, cos[ends][:, None], sin[ends][:, None]).transpose(1, 2)
            seen = (torch.arange(x.shape[1])[None, :] <= ends[:, None])[:, None, None]
        # Written out: the backward pass of torch's function is several times slower on a CPU.
        scores = queries @ keys.transpose(-1, -2) / self.shape.head_dim**0.5
        weights = scores.masked_fill(~seen, -1e4).softmax(-1, dtype=torch.float32)
        return self.o_proj((weights.to(values.dtype) @ values).transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        """(batch, tokens, hidden) to (batch, tokens, heads, head_dim)."""
        return x.unflatten(-1, (self.shape.heads, self.shape.head_dim))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.hidden, shape.ffn)
        self.up_proj = Linear(shape.hidden, shape.ffn)
        self.down_proj = Linear(shape.ffn, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and feed-forward, each with a residual connection."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden, shape.eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden, shape.eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], ends: Tensor | None) -> Tensor:
        """Compute all rows, or those of the end tokens."""
        y = self.self_attn(self.input_layernorm(x), rope, ends)
        x = y + (x if ends is None else x[torch.arange(len(x)), ends][:, None])
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    """Token ids to unit vectors."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden, shape.eps)
        exponents = torch.arange(0, shape.head_dim, 2) / shape.head_dim
        angles = torch.outer(torch.arange(shape.context).float(), shape.theta**-exponents)
        self.register_buffer("cos", angles.cos()[:, None], persistent=False)
        self.register_buffer("sin", angles.sin()[:, None], persistent=False)

    def forward(self, tokens: Tensor, ends: Tensor) -> Tensor:
        """Embed right-padded texts.

        Args:
            tokens: ids, (batch, tokens).
            ends: the position of each text's end token, (batch,).

        Returns:
            Unit vectors, (batch, hidden) float32.

        """
        x = self.embed_tokens(tokens)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        rope = self.cos[: tokens.shape[1]].to(x.dtype), self.sin[: tokens.shape[1]].to(x.dtype)
        for layer in self.layers[:-1]:
            x = layer(x, rope, None)
        x = self.layers[-1](x, rope, ends)
        return functional.normalize(self.norm(x[:, 0].float()), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: halves of the head are the two coordinates."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def adapt(network: Network, rank: int, alpha: float) -> list[nn.Parameter]:
    """Freeze the network, give every matrix an adapter, and return the trainable parameters."""
    network.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Linear):
            module.lora = LoRA(module.out_features, module.in_features, rank, alpha / rank)
    return [p for p in network.parameters() if p.requires_grad]
