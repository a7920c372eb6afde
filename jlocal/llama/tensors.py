"""Reading ggml's tensors from memory, since its functions tell little about them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.gguf.types import F32
from jlocal.llama.library import ggml


class Tensor(ctypes.Structure):
    """The beginning of `struct ggml_tensor` in ggml.h, down to its name."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
    )


def name_of(tensor: Tensor) -> str:
    """Return a tensor's name; a copy for another device is called DEVICE#NAME#NUMBER."""
    name = bytes(tensor.name).decode("utf-8", "replace")
    return name.split("#")[1] if "#" in name else name


def tensor_at(pointer: Any) -> Tensor:
    """Return the tensor at an address.

    Raises:
        ModelError: the tensor structure of this llama.cpp is another one.

    """
    tensor = Tensor.from_address(pointer)
    # ggml exports no layout, but its own function finds the last field that is declared here.
    if ggml.ggml_get_name(pointer) != tensor.name:
        raise ModelError(
            "this llama-cpp-python has other tensor structures than version 0.3.36; install "
            "llama-cpp-python 0.3.36"
        )
    return tensor


def rows_of(pointer: Any, columns: int | None = None) -> npt.NDArray[np.float32]:
    """Copy a matrix that llama.cpp has computed.

    The size of the copy comes from the tensor itself, never from a file's header.

    Args:
        pointer: address of a tensor.
        columns: the length that rows must have; None takes any length.

    Returns:
        (rows, columns) float32.

    Raises:
        ModelError: the tensor is not a contiguous float32 matrix, or its rows have another length.

    """
    tensor = tensor_at(pointer)
    width, height, *more = tensor.ne
    dense = tensor.nb[0] == 4 and (height < 2 or tensor.nb[1] == 4 * width)
    if tensor.type != F32.number or more != [1, 1] or not dense:
        raise ModelError(f"the memory layout of {name_of(tensor)} in llama.cpp is not supported")
    if columns is not None and width != columns:
        raise ModelError(
            f"llama.cpp computes vectors of {width:,} values, but the model's header says "
            f"{columns:,}; download or convert the model again"
        )
    values = np.empty((height, width), np.float32)
    if values.size:
        ggml.ggml_backend_tensor_get(pointer, values.ctypes.data, 0, values.nbytes)
    return values
