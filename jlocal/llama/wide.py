"""The choice of weights to widen to bfloat16: which, whether it pays here, and its memory."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator

from jlocal.gguf.header import Header, Tensor
from jlocal.gguf.types import TENSOR_TYPES
from jlocal.memory import total_memory

_Q8_0 = TENSOR_TYPES["Q8_0"].number
QUANTISED = frozenset(type.number for type in TENSOR_TYPES.values() if type.is_quantized)

# A machine with less memory than this many times the wide weights keeps the narrow ones.
_MEMORY_SHARE = 4


def widening_pays(header: Header, features: Collection[str]) -> bool:
    """Tell whether llama.cpp computes faster with the widened file on this machine.

    Measured for Q8_0 on a processor with AVX512-BF16.

    Args:
        header: the header of the file.
        features: instruction sets of llama.cpp, as `features_in` returns them.

    """
    matrices = [tensor for tensor in header.tensors if in_layer(tensor)]
    wide = sum(2 * math.prod(tensor.shape) for tensor in matrices)
    return (
        hasattr(os, "memfd_create")
        and "AVX512_BF16" in features
        and bool(matrices)
        and all(tensor.type == _Q8_0 for tensor in matrices)
        and _MEMORY_SHARE * wide <= (total_memory() or 0)
    )


def widened_size(header: Header) -> int:
    """Return the size of the file with widened matrices, in bytes, without padding."""
    return header.file_size + sum(
        2 * math.prod(tensor.shape) - narrow
        for tensor, narrow in stored_sizes(header)
        if in_layer(tensor) and tensor.type in QUANTISED
    )


def in_layer(tensor: Tensor) -> bool:
    """Tell whether a tensor is a matrix of a layer."""
    return tensor.name.startswith("blk.") and len(tensor.shape) == 2


def stored_sizes(header: Header) -> Iterator[tuple[Tensor, int]]:
    """Yield each tensor with the bytes that it takes in the file, padding included."""
    starts = sorted(tensor.offset for tensor in header.tensors)
    ends = dict(zip(starts, [*starts[1:], header.file_size - header.data_start], strict=False))
    for tensor in header.tensors:
        yield tensor, ends[tensor.offset] - tensor.offset
