"""The choice of a compute type for a file on this machine, and the memory of its weights.

Nothing here loads llama.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, get_args

from jlocal.errors import ModelError
from jlocal.gguf.header import Header, Tensor
from jlocal.gguf.types import TENSOR_TYPES
from jlocal.llama.wide import in_layer, stored_sizes, widened_size, widening_pays
from jlocal.memory import total_memory
from jlocal.terms import Argument

ComputeType = Literal["auto", "stored", "bfloat16", "int8"]
COMPUTE_TYPES: tuple[str, ...] = get_args(ComputeType)

_Q8_0 = {TENSOR_TYPES["Q8_0"].number}
_BF16 = {TENSOR_TYPES["BF16"].number}
_K_QUANTS = {type.number for name, type in TENSOR_TYPES.items() if name.endswith("_K")}

# The beginnings of the names of the kernels that compute in a type.
_FAMILIES = {"bfloat16": ("bf16", "f32"), "int8": ("int8",)}

# Those for which bfloat16 is an instruction; the others convert it, and gain little.
_HARDWARE = {"bf16", "bf16-amx"}

# The most bytes of a packed weight; 32 weights of int8 share a scale and a sum, and those of Q8_0
# that AMX widens when they are used share a scale.
_PACKED = {"bfloat16": 2.0, "int8": 1.25}
_PACKED_Q8 = 1.0625

# A machine with less memory than this many times the packed weights keeps those of the file.
_MEMORY_SHARE = 4


def computes(compute_type: str, families: Collection[str]) -> bool:
    """Tell whether there are kernels for a compute type among the families of this CPU."""
    return any(name.startswith(_FAMILIES.get(compute_type, ())) for name in families)


def choose(header: Header, features: Collection[str], families: Collection[str]) -> ComputeType:
    """Return the compute type that "auto" stands for, for a file on a CPU.

    It never gives up exactness for speed: llama.cpp computes the products of Q8_0 in eight bits
    too, and those of BF16 in bfloat16, but those of F16 with more bits. With AMX, bfloat16 is
    faster than int8.

    Args:
        header: the header of the file.
        features: instruction sets of llama.cpp, as `features_in` returns them.
        families: jlocal's own kernels, as in `Kernels`.

    """
    kinds = {tensor.type for tensor in header.tensors if in_layer(tensor)}
    wanted: tuple[ComputeType, ...] = ()
    if kinds == _Q8_0:
        wanted = ("bfloat16", "int8") if "bf16-amx" in families else ("int8",)
    elif kinds == _BF16 and not _HARDWARE.isdisjoint(families):
        wanted = ("bfloat16",)
    for compute_type in wanted:
        if computes(compute_type, families) and _fits(header, compute_type, families):
            return compute_type
    return "bfloat16" if widening_pays(header, features) else "stored"


def check_possible(header: Header, compute_type: str, families: Collection[str]) -> None:
    """Check that this machine can compute in a type.

    Raises:
        ModelError: it has no kernels for the type.

    """
    if compute_type == "int8" and not computes("int8", families):
        stored = Argument("compute_type", "stored")
        raise ModelError(
            f"cannot compute with {header.path} in int8: jlocal's own kernels cannot be used here, "
            f"and `jlocal doctor` says why; compute with the stored weights: {stored}",
            stored,
            path=header.path,
        )


def unpacked_pays(header: Header, features: Collection[str]) -> bool:
    """Tell whether llama.cpp computes faster with K-quants as they are in the file.

    With AVX-512, its kernels for their repacked layout are slower than those for the file's; with
    AVX2 alone it is the other way round.
    """
    return "AVX512" in features and any(
        tensor.type in _K_QUANTS for tensor in header.tensors if in_layer(tensor)
    )


def weights_size(header: Header, compute_type: str, families: Collection[str]) -> int:
    """Return the bytes of a file's weights in memory, in a compute type, without padding."""
    if compute_type == "stored":
        return header.file_size
    if not computes(compute_type, families):
        return widened_size(header)
    return header.file_size + sum(
        _packed_size(tensor, compute_type, families) - stored
        for tensor, stored in stored_sizes(header)
        if in_layer(tensor)
    )


def _fits(header: Header, compute_type: str, families: Collection[str]) -> bool:
    size = sum(
        _packed_size(tensor, compute_type, families)
        for tensor in header.tensors
        if in_layer(tensor)
    )
    return _MEMORY_SHARE * size <= (total_memory() or 0)


def _packed_size(tensor: Tensor, compute_type: str, families: Collection[str]) -> int:
    stays = compute_type == "bfloat16" and tensor.type in _Q8_0 and "bf16-amx-q8" in families
    return int((_PACKED_Q8 if stays else _PACKED[compute_type]) * math.prod(tensor.shape))
