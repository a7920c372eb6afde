"""ggml's tensors in memory, which its functions say little of."""

from __future__ import annotations

import ctypes
from typing import Any

from jlocal.errors import ModelError
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
