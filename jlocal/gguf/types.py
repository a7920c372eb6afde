"""The tensor types and file types of GGUF, in one table.

A tensor type such as Q4_K is the storage of one tensor. A file type such as Q4_K_M stands for the
tensor type of most matrices of a file. Sources of the numbers: `enum ggml_type` in ggml.h,
`enum llama_ftype` in llama.h, and the blocks in ggml-common.h. The numbers are stored in files, so
they never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType


@dataclass(frozen=True)
class TensorType:
    """The storage of a tensor, in blocks along its rows.

    Attributes:
        name: llama.cpp's name, in upper case.
        number: its number in the tensor table of a file.
        block_size: values in a block.
        block_bytes: bytes of a block.
        file_types: name to number of the file types whose matrices are mostly of this type.

    """

    name: str
    number: int
    block_size: int
    block_bytes: int
    file_types: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_quantized(self) -> bool:
        """Whether the values of a block share a scale."""
        return self.block_size > 1

    @property
    def bytes_per_value(self) -> float:
        """The average number of bytes per value."""
        return self.block_bytes / self.block_size

    def nbytes(self, shape: Sequence[int]) -> int:
        """Return the size of a tensor of whole blocks in bytes, without padding."""
        return prod(shape) // self.block_size * self.block_bytes


_SUPPORTED = (
    TensorType("F32", 0, 1, 4, {"F32": 0}),
    TensorType("F16", 1, 1, 2, {"F16": 1}),
    TensorType("BF16", 30, 1, 2, {"BF16": 32}),
    TensorType("Q8_0", 8, 32, 34, {"Q8_0": 7}),
    TensorType("Q6_K", 14, 256, 210, {"Q6_K": 18}),
    TensorType("Q5_K", 13, 256, 176, {"Q5_K_M": 17, "Q5_K_S": 16}),
    TensorType("Q5_1", 7, 32, 24, {"Q5_1": 9}),
    TensorType("Q5_0", 6, 32, 22, {"Q5_0": 8}),
    TensorType("Q4_K", 12, 256, 144, {"Q4_K_M": 15, "Q4_K_S": 14}),
    TensorType("Q4_1", 3, 32, 20, {"Q4_1": 3}),
    TensorType("Q4_0", 2, 32, 18, {"Q4_0": 2}),
    TensorType("IQ4_NL", 20, 32, 18, {"IQ4_NL": 25}),
    TensorType("IQ4_XS", 23, 256, 136, {"IQ4_XS": 30}),
    TensorType("Q3_K", 11, 256, 110, {"Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11}),
    TensorType("IQ3_S", 21, 256, 110, {"IQ3_M": 27, "IQ3_S": 26, "IQ3_XS": 22}),
    TensorType("IQ3_XXS", 18, 256, 98, {"IQ3_XXS": 23}),
    TensorType("Q2_K", 10, 256, 84, {"Q2_K": 10, "Q2_K_S": 21}),
    TensorType("IQ2_S", 22, 256, 82, {"IQ2_M": 29}),
    TensorType("IQ2_XS", 17, 256, 74, {"IQ2_S": 28, "IQ2_XS": 20}),
    TensorType("IQ2_XXS", 16, 256, 66, {"IQ2_XXS": 19}),
    TensorType("IQ1_M", 29, 256, 56, {"IQ1_M": 31}),
    TensorType("IQ1_S", 19, 256, 50, {"IQ1_S": 24}),
)

# MXFP4_MOE is Q8_0 where a model has no experts; llama.cpp reads NVFP4 and cannot make it; only a
# model that was trained for the few levels of the next four survives them; the last hold no
# weights.
_UNSUPPORTED = (
    TensorType("MXFP4", 39, 32, 17, {"MXFP4_MOE": 38}),
    TensorType("NVFP4", 40, 64, 36, {"NVFP4": 39}),
    TensorType("TQ2_0", 35, 256, 66, {"TQ2_0": 37}),
    TensorType("TQ1_0", 34, 256, 54, {"TQ1_0": 36}),
    TensorType("Q2_0", 42, 64, 18, {"Q2_0": 41}),
    TensorType("Q1_0", 41, 128, 18, {"Q1_0": 40}),
    TensorType("I8", 24, 1, 1),
    TensorType("I16", 25, 1, 2),
    TensorType("I32", 26, 1, 4),
    TensorType("I64", 27, 1, 8),
    TensorType("F64", 28, 1, 8),
)

# The tensor types that a model can be quantised to, by name, the largest first.
TENSOR_TYPES: Mapping[str, TensorType] = MappingProxyType({type.name: type for type in _SUPPORTED})
# The file types of quantised files: name to number, in the order of the numbers.
FILE_TYPES: Mapping[str, int] = MappingProxyType(
    dict(
        sorted(
            (item for type in _SUPPORTED for item in type.file_types.items()),
            key=lambda item: item[1],
        )
    )
)
# The file types of published files, the largest first.
KNOWN_FILE_TYPES = tuple(name for type in (*_SUPPORTED, *_UNSUPPORTED) for name in type.file_types)

F32, F16, BF16 = TENSOR_TYPES["F32"], TENSOR_TYPES["F16"], TENSOR_TYPES["BF16"]

_TENSOR_NAMES = {type.number: type.name for type in (*_SUPPORTED, *_UNSUPPORTED)}
_FILE_NAMES = {
    number: name
    for type in (*_SUPPORTED, *_UNSUPPORTED)
    for name, number in type.file_types.items()
}


def tensor_type_name(number: int) -> str | None:
    """Return the name of the tensor type with this number; None if it is unknown."""
    return _TENSOR_NAMES.get(number)


def file_type_name(number: int | None) -> str | None:
    """Return the name of the file type with this number; None if it is unknown."""
    return None if number is None else _FILE_NAMES.get(number)
