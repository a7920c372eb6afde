"""Small graphs of ggml, whose tensors lie in memory that a test chooses."""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jlocal.llama.library import FOLDER

if TYPE_CHECKING:
    from typing_extensions import Self

F32, F16, I32, I64 = 0, 1, 26, 27
_DTYPES = {F32: np.float32, F16: np.float16, I32: np.int32, I64: np.int64}
_POINTER, _SIZE, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_FUNCTIONS = {
    "ggml_new_tensor_4d": (_POINTER, [_POINTER, ctypes.c_int, *[_SIZE] * 4]),
    "ggml_get_data": (_POINTER, [_POINTER]),
    "ggml_nbytes": (ctypes.c_size_t, [_POINTER]),
    "ggml_view_2d": (_POINTER, [_POINTER, _POINTER, _SIZE, _SIZE, *[ctypes.c_size_t] * 2]),
    "ggml_new_graph": (_POINTER, [_POINTER]),
    "ggml_build_forward_expand": (None, [_POINTER, _POINTER]),
    "ggml_rms_norm": (_POINTER, [_POINTER, _POINTER, _FLOAT]),
    "ggml_rms_norm_inplace": (_POINTER, [_POINTER, _POINTER, _FLOAT]),
    "ggml_rope_ext": (
        _POINTER,
        [*[_POINTER] * 4, *[ctypes.c_int] * 3, *[_FLOAT] * 6],
    ),
    "ggml_set_rows": (_POINTER, [_POINTER] * 4),
    **{
        f"ggml_{name}": (_POINTER, [_POINTER] * 3)
        for name in ("add", "add_inplace", "mul", "mul_inplace", "swiglu_split", "geglu_split")
    },
}


class _Parameters(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("memory", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


class Graph:
    """Operations in the order in which they are added; `ggml_` functions are its methods."""

    def __init__(self) -> None:
        self._base, self._cpu = (
            ctypes.CDLL(str(next(FOLDER.glob(f"lib{name}.so*"))))
            for name in ("ggml-base", "ggml-cpu")
        )
        self._base.ggml_init.restype, self._base.ggml_init.argtypes = _POINTER, [_Parameters]
        self._base.ggml_free.argtypes = [_POINTER]
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._base, name)
            function.restype, function.argtypes = result, arguments
        self._cpu.ggml_graph_compute_with_ctx.argtypes = [_POINTER, _POINTER, ctypes.c_int]
        self._context = self._base.ggml_init(_Parameters(64 << 20, None, False))
        self.pointer = self._base.ggml_new_graph(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._base.ggml_free(self._context)

    def tensor(self, values: npt.NDArray) -> int:
        """Return a tensor with these values; its first dimension is the array's last."""
        kind = next(kind for kind, dtype in _DTYPES.items() if dtype == values.dtype)
        sizes = [*reversed(values.shape), 1, 1, 1][:4]
        made = self._base.ggml_new_tensor_4d(self._context, kind, *sizes)
        values = np.ascontiguousarray(values)
        ctypes.memmove(self._base.ggml_get_data(made), values.ctypes.data, values.nbytes)
        return int(made)

    def view(self, tensor: int, size: int, rows: int, offset: int) -> int:
        """Return a contiguous float32 matrix in the memory of a tensor, from a float on."""
        made = self._base.ggml_view_2d(self._context, tensor, size, rows, 4 * size, 4 * offset)
        return int(made)

    def add(self, name: str, *arguments: float | None) -> int:
        """Add the operation `ggml_NAME`, and return its tensor."""
        made = getattr(self._base, f"ggml_{name}")(self._context, *arguments)
        self._base.ggml_build_forward_expand(self.pointer, made)
        return int(made)

    def rotate(self, x: int, positions: int, size: int) -> int:
        """Add a rotation of whole heads by halves, as in the models."""
        numbers = (1_000_000.0, 0.5, 0.0, 1.25, 32.0, 1.0)
        return self.add("rope_ext", x, positions, None, size, 2, 32_768, *numbers)

    def values(self, tensor: int, dtype: npt.DTypeLike = np.float32) -> npt.NDArray:
        """Return a copy of a tensor's values, flat."""
        size = self._base.ggml_nbytes(tensor)
        return np.frombuffer(ctypes.string_at(self._base.ggml_get_data(tensor), size), dtype).copy()

    def compute(self) -> None:
        """Compute the operations with ggml's CPU backend."""
        assert self._cpu.ggml_graph_compute_with_ctx(self._context, self.pointer, 1) == 0
