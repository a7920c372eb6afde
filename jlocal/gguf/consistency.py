"""Checking that a GGUF header and its tensor table agree: otherwise llama.cpp may abort.

The common metadata of every architecture is checked; for qwen3 and eurobert, which jlocal is made
for, the shape of each tensor as well. Only the header is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from jlocal.errors import ModelError
from jlocal.gguf.header import Header, LongArray, Value, shown

Shapes = Mapping[str, tuple[int, ...]]

# Limits of llama.cpp 0.3.36's llama-hparams.h.
_MAX_LAYERS, _MAX_EXPERTS = 512, 1024

_EMBEDDING, _POSITIONS = "token_embd.weight", "position_embd.weight"
_NO_TOKENIZER = frozenset({"none", "no_vocab"})
_LAYER = re.compile(r"blk\.(\d{1,9})\.", re.ASCII)


class _Contradiction(Exception):
    """A contradiction in a header; the message completes a sentence about the file."""


def check_consistency(header: Header) -> None:
    """Check the metadata of a header against its tensors.

    Raises:
        ModelError: they contradict each other, or a number is impossible for a model.

    """
    try:
        _Checker(header).run()
    except _Contradiction as error:
        raise ModelError(
            f"{header.path} is not a usable GGUF file: {error}; download or convert the model "
            "again",
            path=header.path,
        ) from None


class _Checker:
    """The checks of one header; keys are named without the architecture."""

    def __init__(self, header: Header) -> None:
        self.architecture = str(header.metadata.get("general.architecture"))
        self.metadata = header.metadata
        self.shapes: dict[str, tuple[int, ...]] = {}
        for tensor in header.tensors:
            if tensor.name in self.shapes:
                raise _Contradiction(f"the tensor {shown(tensor.name)} occurs twice")
            if not all(0 < size < 1 << 63 for size in tensor.shape):
                raise _Contradiction(
                    f"the tensor {shown(tensor.name)} has the shape {shown(tensor.shape)}"
                )
            self.shapes[tensor.name] = tensor.shape

    def run(self) -> None:
        self._check_floats()
        width = self._check_embeddings()
        layers = self._check_layers()
        self._check_tokenizer()
        self._check_experts()
        heads, kv_heads, head_size = self._check_heads(width)
        if self.architecture in _LAYOUTS:
            ffn_size = self.number("feed_forward_length", 1)
            layout = _LAYOUTS[self.architecture]
            rotated = self.number("rope.dimension_count", 1, default=head_size)
            if self.architecture == "qwen3" and rotated != head_size:
                raise _Contradiction(
                    f"{self.key('rope.dimension_count')} is {rotated:,}, and a head "
                    f"has {head_size:,}"
                )
            self._check_shapes(
                layout(width, layers, heads, kv_heads, head_size, ffn_size, self.shapes)
            )

    def key(self, key: str) -> str:
        return shown(f"{self.architecture}.{key}")

    def value(self, key: str) -> Value | None:
        return self.metadata.get(f"{self.architecture}.{key}")

    def number(
        self, key: str, minimum: int, maximum: int = (1 << 31) - 1, default: int = -1
    ) -> int:
        """Return a whole number; without a default, the key is required."""
        value = self.value(key)
        if value is None and default >= 0:
            return default
        # In Python a bool is an int; in a header it is not.
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise _Contradiction(f"{self.key(key)} is {shown(value)}")
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise _Contradiction(f"it has no tensor {shown(name)}")
        return self.shapes[name]

    def _check_floats(self) -> None:
        for key, value in self.metadata.items():
            if not key.startswith(f"{self.architecture}."):
                continue
            values = value if isinstance(value, tuple) else (value,)
            if any(isinstance(item, float) and not math.isfinite(item) for item in values):
                raise _Contradiction(f"{shown(key)} is {shown(value)}")
            if key.endswith("freq_base") and not (isinstance(value, float) and value > 0):
                raise _Contradiction(f"{shown(key)} is {shown(value)}")
            if key.endswith("epsilon") and not (isinstance(value, float) and 0 <= value < 1):
                raise _Contradiction(f"{shown(key)} is {shown(value)}")

    def _check_embeddings(self) -> int:
        width = self.number("embedding_length", 1)
        table = self.shape(_EMBEDDING)
        if len(table) != 2 or table[0] != width:
            raise _Contradiction(
                f"{self.key('embedding_length')} is {width:,}, and the token embeddings have the "
                f"shape {table}"
            )
        # Only a final dense layer can change the length of the vectors.
        sizes = {width, *(n for name, s in self.shapes.items() if name[:5] == "dense" for n in s)}
        out = self.number("embedding_length_out", 1, default=width)
        if out not in sizes:
            raise _Contradiction(
                f"{self.key('embedding_length_out')} is {out:,}, and its vectors have {width:,} "
                "values"
            )
        context = self.number("context_length", 1)
        positions = self.shapes.get(_POSITIONS)
        if positions and context > positions[-1]:
            raise _Contradiction(
                f"{self.key('context_length')} is {context:,}, and it has embeddings of "
                f"{positions[-1]:,} positions"
            )
        return width

    def _check_layers(self) -> int:
        count = self.number("block_count", 1, _MAX_LAYERS)
        actual = {int(match[1]) for name in self.shapes if (match := _LAYER.match(name))}
        if actual != set(range(count)):
            raise _Contradiction(
                f"{self.key('block_count')} is {count:,}, and it has tensors of {len(actual):,} "
                "layers"
            )
        return count

    def _check_tokenizer(self) -> None:
        model = self.metadata.get("tokenizer.ggml.model")
        if not isinstance(model, str) or model in _NO_TOKENIZER:
            raise _Contradiction("it has no tokenizer")
        # With it llama.cpp tokenises some texts without end.
        if model == "rwkv":
            raise _Contradiction("its tokenizer is rwkv, which no model for embeddings has")
        rows = self.shapes[_EMBEDDING][1]
        count = self._length("tokenizer.ggml.tokens")
        if count != rows:
            raise _Contradiction(f"it has {count or 0:,} tokens, and embeddings of {rows:,}")
        for key in ("tokenizer.ggml.token_type", "tokenizer.ggml.scores"):
            if key in self.metadata and self._length(key) != rows:
                raise _Contradiction(f"it has {rows:,} tokens, and {shown(key)} is not of as many")
        for name, added in (("bos", "bos"), ("eos", "eos"), ("seperator", "sep")):
            number = self.metadata.get(f"tokenizer.ggml.{name}_token_id")
            is_added = self.metadata.get(f"tokenizer.ggml.add_{added}_token") is True
            if is_added and number is not None and not _is_index(number, rows):
                raise _Contradiction(
                    f"'tokenizer.ggml.{name}_token_id' is {shown(number)}, of {rows:,} tokens"
                )

    def _length(self, key: str) -> int | None:
        value = self.metadata.get(key)
        if isinstance(value, LongArray):
            return value.length
        return len(value) if isinstance(value, tuple) else None

    def _check_experts(self) -> None:
        if self.architecture in _LAYOUTS:
            for key in ("expert_count", "expert_used_count", "expert_group_count"):
                self.number(key, 0, 0, default=0)
        else:
            count = self.number("expert_count", 0, _MAX_EXPERTS, default=0)
            used = self.value("expert_used_count")
            if isinstance(used, int) and not min(count, 1) <= used <= count:
                raise _Contradiction(
                    f"it has {count:,} experts, and {self.key('expert_used_count')} is {used:,}"
                )

    def _check_heads(self, width: int) -> tuple[int, int, int]:
        """Return the number of heads for queries and for keys, and the length of a head."""
        keys = ("attention.head_count", "attention.head_count_kv")
        by_layer = any(isinstance(self.value(key), tuple | LongArray) for key in keys)
        if self.architecture not in _LAYOUTS and (by_layer or self.value(keys[0]) is None):
            return 1, 1, width
        heads = self.number("attention.head_count", 1, width)
        kv_heads = self.number("attention.head_count_kv", 1, heads, default=heads)
        if heads % kv_heads:
            raise _Contradiction(f"{heads:,} heads cannot share {kv_heads:,} keys and values")
        head_size = self.number("attention.key_length", 1, default=width // heads)
        value_size = self.number("attention.value_length", 1, default=width // heads)
        if self.architecture in _LAYOUTS and head_size != value_size:
            raise _Contradiction(
                f"its keys have {head_size:,} values a head, and its values {value_size:,}"
            )
        rotated = self.number("rope.dimension_count", 1, head_size, default=head_size)
        if self.value("rope.dimension_count") is not None and rotated % 2:
            raise _Contradiction(f"{self.key('rope.dimension_count')} is {rotated:,}")
        return heads, kv_heads, head_size

    def _check_shapes(self, expected: Iterator[tuple[str, tuple[int, ...]]]) -> None:
        for name, shape in expected:
            if (actual := self.shape(name)) != shape:
                raise _Contradiction(
                    f"the tensor {shown(name)} has the shape {shown(actual)}, and by its metadata "
                    f"it must have {shape}"
                )


def _is_index(value: Value, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def _eurobert_layout(
    width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    head_size: int,
    ffn_size: int,
    actual: Shapes,
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names of the tensors of a eurobert model, and their shapes in GGUF's order."""
    queries, keys = heads * head_size, kv_heads * head_size
    yield "output_norm.weight", (width,)
    for layer in range(layers):
        prefix = f"blk.{layer}."
        yield f"{prefix}attn_norm.weight", (width,)
        if f"{prefix}attn_qkv.weight" in actual:
            yield f"{prefix}attn_qkv.weight", (width, queries + 2 * keys)
        else:
            yield f"{prefix}attn_q.weight", (width, queries)
            yield f"{prefix}attn_k.weight", (width, keys)
            yield f"{prefix}attn_v.weight", (width, keys)
        yield f"{prefix}attn_output.weight", (queries, width)
        yield f"{prefix}ffn_norm.weight", (width,)
        yield f"{prefix}ffn_gate.weight", (width, ffn_size)
        yield f"{prefix}ffn_up.weight", (width, ffn_size)
        yield f"{prefix}ffn_down.weight", (ffn_size, width)


def _qwen3_layout(
    width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    head_size: int,
    ffn_size: int,
    actual: Shapes,
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _eurobert_layout(width, layers, heads, kv_heads, head_size, ffn_size, actual)
    for layer in range(layers):
        yield f"blk.{layer}.attn_q_norm.weight", (head_size,)
        yield f"blk.{layer}.attn_k_norm.weight", (head_size,)


_LAYOUTS = {"eurobert": _eurobert_layout, "qwen3": _qwen3_layout}
