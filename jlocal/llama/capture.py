"""Capture of hidden states: a callback that collects them, and ends the graph there.

llama.cpp calls it for each tensor of a graph. The callback in C++ takes no time for that; the one
in Python takes a part of a millisecond for each batch.
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import numpy as np

from jlocal.errors import ModelError
from jlocal.llama.kernels import capture_function
from jlocal.llama.library import api, ggml
from jlocal.llama.tensors import rows_of
from jlocal.vectors import Floats

_HIDDEN_STATES = b"result_norm"


class Capture(Protocol):
    """Collects the rows of `result_norm` and ends the graph there.

    With a unified KV cache the rows are the marked tokens in batch order.

    Attributes:
        callback: llama.cpp's `cb_eval`; the capture must outlive its contexts.
        user_data: its `cb_eval_user_data`.

    """

    callback: Any
    user_data: int | None

    def forget(self) -> None:
        """Drop the rows and the error that a failed call may have left."""

    def take(self, expected: int) -> Floats:
        """Return and forget the rows of one `llama_decode` call.

        Returns:
            (expected, dimensions) float32.

        Raises:
            ModelError: the number of rows or their length is not the expected one.

        """


def new_capture(dimensions: int, most: int) -> Capture:
    """Make a capture for contexts of a model, the fastest one that there is.

    Args:
        dimensions: the length of a row.
        most: how many rows a call of `llama_decode` may have.

    """
    function = capture_function()
    return _Capture(dimensions) if function is None else _NativeCapture(function, dimensions, most)


class _Capture:
    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._rows: list[Floats] = []
        self._failure: Exception | None = None
        # llama.cpp keeps the bare address: this reference keeps the callback alive.
        self.callback: Any = api.ggml_backend_sched_eval_callback(self._on_tensor)
        self.user_data: int | None = None

    def _on_tensor(self, tensor: int, ask: bool, _user_data: object) -> bool:
        if ask:
            return bool(ggml.ggml_get_name(tensor) == _HIDDEN_STATES)
        # No exception can leave a callback: ctypes would print it and drop it.
        try:
            self._rows.append(rows_of(tensor, self._dimensions))
        except Exception as error:
            self._failure = error
        return False

    def forget(self) -> None:
        self._rows.clear()
        self._failure = None

    def take(self, expected: int) -> Floats:
        if self._failure:
            raise self._failure
        rows, self._rows = self._rows, []
        vectors = np.concatenate(rows) if rows else np.empty((0, self._dimensions), np.float32)
        if len(vectors) != expected:
            raise _other_rows(len(vectors), expected)
        return vectors


class _Rows(ctypes.Structure):
    """`Capture` in native/capture.h."""

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("count", ctypes.c_int64),
    )


class _NativeCapture:
    def __init__(self, function: int, dimensions: int, most: int) -> None:
        self._buffer = np.empty((most, dimensions), np.float32)
        self._rows = _Rows(self._buffer.ctypes.data, dimensions, most, 0)
        self.callback: Any = api.ggml_backend_sched_eval_callback(function)
        self.user_data: int | None = ctypes.addressof(self._rows)

    def forget(self) -> None:
        self._rows.count = 0

    def take(self, expected: int) -> Floats:
        count, self._rows.count = self._rows.count, 0
        if count < 0:
            raise ModelError(
                f"llama.cpp computes no vectors of {self._rows.columns:,} values, as the model's "
                "header says; download or convert the model again"
            )
        if count != expected:
            raise _other_rows(count, expected)
        return self._buffer[:count].copy()


def _other_rows(count: int, expected: int) -> ModelError:
    return ModelError(f"llama.cpp gave {count} hidden states for {expected} texts")
