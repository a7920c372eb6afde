"""ggml's tensors in memory, which its functions say little of."""

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
    """Look at the tensor that a pointer points at.

    Raises:
        ModelError: llama.cpp lays tensors out otherwise.

    """
    tensor = Tensor.from_address(pointer)
    # The one thing about the structure that can be asked for: where its last field here is.
    if ggml.ggml_get_name(pointer) != tensor.name:
        raise ModelError(
            "this llama-cpp-python has other structures than those of 0.3.36; install that version"
        )
    return tensor


def rows_of(pointer: Any, columns: int | None = None) -> npt.NDArray[np.float32]:
    """Copy a matrix that llama.cpp has computed.

    The tensor itself says how large the copy is: a header may say anything.

    Args:
        pointer: to a tensor.
        columns: how many values a row must have; None takes any number.

    Returns:
        (rows, columns) float32.

    Raises:
        ModelError: it is no matrix of float32 that lies in one piece, or has other rows.

    """
    tensor = tensor_at(pointer)
    width, height, *more = tensor.ne
    dense = tensor.nb[0] == 4 and (height < 2 or tensor.nb[1] == 4 * width)
    if tensor.type != F32.number or more != [1, 1] or not dense:
        raise ModelError(f"llama.cpp lays out {name_of(tensor)} in a way that is not known here")
    if columns is not None and width != columns:
        raise ModelError(
            f"llama.cpp computes vectors of {width:,} values, and the model's header says "
            f"{columns:,}; download or convert the model again"
        )
    values = np.empty((height, width), np.float32)
    if values.size:
        ggml.ggml_backend_tensor_get(pointer, values.ctypes.data, 0, values.nbytes)
    return values
