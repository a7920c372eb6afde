"""Fake quantisation: a loaded model computes with matrices that were quantised and read back.

llama.cpp's own kernels quantise and dequantise a matrix, and the model computes with the result as
with any weights. So the effect of one type on one matrix is measured without writing a file.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.gguf.header import Tensor
from jlocal.gguf.types import F16, F32, TENSOR_TYPES
from jlocal.llama.library import api, ggml, interruptible
from jlocal.llama.model import Model
from jlocal.llama.runtime import Runtime
from jlocal.llama.tensors import tensor_at
from jlocal.llama.threads import default_threads
from jlocal.llama.tokenizer import Tokens
from jlocal.models.profile import Profile
from jlocal.vectors import Doubles, Floats, normalize

_STORED: dict[int, np.dtype[Any]] = {
    F32.number: np.dtype("<f4"),
    F16.number: np.dtype("<f2"),
}
_USES = (b"MUL_MAT", b"GET_ROWS")
_CELLS = 256

# Weights that a thread takes at a time.
_STEP = 1 << 16
# Scales are stored in F16. The square of a larger weight, times a larger importance, would overflow
# float32 within the quantisation, which then aborts the process.
_LARGEST, _LARGEST_IMPORTANCE = 65504.0, 1e20


class FakeQuantizer:
    """A model in memory whose matrices can be replaced one at a time; a context manager.

    Attributes:
        shapes: (rows, columns) of the matrices that can be replaced, by name.
        limit: the most tokens in one text.

    """

    def __init__(self, profile: Profile, *, threads: int | None = None) -> None:
        """Load the model.

        Args:
            profile: the profile of an F32 or F16 file.
            threads: CPU threads; None takes one for each physical core.

        Raises:
            ModelError: the file cannot be loaded, or has tensors of other types.

        """
        self._profile, self.limit = profile, profile.context
        self._threads = threads or default_threads()
        self._stored = {tensor.name: tensor for tensor in profile.header.tensors}
        self._runtime = Runtime(
            profile,
            threads=threads,
            gpu_layers=0,
            compute_type="stored",
            capture=None,
            writable=True,
        )
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="jlocal-exchange")
        try:
            self._tensors = interruptible(
                lambda: _find(self._runtime.model, self._threads, set(self._stored))
            )
            self.shapes = self._shapes()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> FakeQuantizer:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._runtime.close()

    def _shapes(self) -> dict[str, tuple[int, int]]:
        shapes = {}
        for name in self._tensors:
            tensor = self._stored[name]
            if tensor.type not in _STORED:
                raise ModelError(
                    f"{self._profile.path} has tensors of other types than F32 and F16",
                    path=self._profile.path,
                )
            if len(tensor.shape) == 2:
                columns, rows = tensor.shape
                actual = tensor_at(self._tensors[name])
                if actual.type != tensor.type or list(actual.ne) != [columns, rows, 1, 1]:
                    raise ModelError(
                        f"{self._profile.path} has changed; run this again", path=self._profile.path
                    )
                shapes[name] = (rows, columns)
        return shapes

    def tokens(self, text: str) -> Tokens:
        """Return the token ids of a text, special tokens included."""
        return self._runtime.tokenizer.encode(text)

    def vectors(self, sequences: Sequence[Tokens]) -> Doubles:
        """Embed token sequences with the current matrices.

        Returns:
            (n, d) unit vectors in the order of the sequences.

        Raises:
            ModelError: llama.cpp cannot compute the vectors, or they are not finite.

        """
        vectors = normalize(
            self._runtime.scheduler.submit_job(sequences).result().astype(np.float64)
        )
        if not (np.isfinite(vectors).all() and vectors.any(axis=1).all()):
            raise ModelError(
                f"{self._profile.path} gives vectors that are not finite, or zero",
                path=self._profile.path,
            )
        return vectors

    @contextmanager
    def applied(self, name: str, tensor_type: str, importance: Floats | None) -> Iterator[float]:
        """Give a matrix another type until the context is left; yield the same error as `error`.

        Args:
            name: a key of `shapes`.
            tensor_type: F16, or a quantised key of `jlocal.gguf.types.TENSOR_TYPES` whose blocks
                divide the columns; without an importance, a type that needs none.
            importance: the importance of each column, (columns,), or None.

        Raises:
            ModelError: the weights or the importance exceed the range of a type.

        """
        tensor = self._stored[name]
        rows, columns = self.shapes[name]
        dtype = _STORED[tensor.type]
        try:
            total = 0.0
            for start, block, error in self._rounded(tensor, tensor_type, importance, 1):
                values = np.ascontiguousarray(block, dtype)
                self._write(name, values, start * columns * dtype.itemsize)
                total += error
            yield total
        finally:
            step = max(1, _STEP // columns)
            for start in range(0, rows, step):
                count = min(step, rows - start)
                values = self._read(tensor, start, count)
                self._write(name, values, start * columns * dtype.itemsize)

    def error(
        self, name: str, tensor_type: str, importance: Floats | None, *, part: int = 1
    ) -> float:
        """Return the squared error of a matrix in another type, weighted by column.

        Args:
            name: as in `applied`.
            tensor_type: as in `applied`.
            importance: as in `applied`; None weights all columns with 1.
            part: measure one in `part` pieces of the matrix, and extrapolate to the whole.

        """
        tensor = self._stored[name]
        total, seen = 0.0, 0
        for _, block, error in self._rounded(tensor, tensor_type, importance, part):
            total += error
            seen += len(block)
        return total * self.shapes[name][0] / seen

    def _rounded(
        self, tensor: Tensor, tensor_type: str, importance: Floats | None, part: int
    ) -> Iterator[tuple[int, Floats, float]]:
        """Yield the pieces of a matrix in another type: first row, (rows, columns), error."""
        columns, rows = tensor.shape
        if importance is not None:
            importance = np.ascontiguousarray(importance, np.float32)
            if importance.shape != (columns,):
                raise ModelError(
                    f"the importance of {tensor.name} has {importance.size:,} columns, and the "
                    f"matrix has {columns:,}"
                )
            if not 0 <= importance.max() <= _LARGEST_IMPORTANCE:
                raise ModelError(
                    f"the importance of {tensor.name} must lie between 0 and "
                    f"{_LARGEST_IMPORTANCE:g}; compute the importance matrix again",
                    path=self._profile.path,
                )
        step = max(1, _STEP // columns)
        starts = range(0, rows, step * part)

        def work(start: int) -> tuple[int, Floats, float]:
            values = self._read(tensor, start, min(step, rows - start)).astype(np.float32)
            if not np.abs(values).max() <= _LARGEST:
                raise ModelError(
                    f"{tensor.name} of {self._profile.path} has weights that are above "
                    f"{_LARGEST:,.0f} or not finite; no quantised type can hold them",
                    path=self._profile.path,
                )
            back = _round_trip(values, tensor_type, importance)
            squares = np.square(back - values).sum(axis=0, dtype=np.float64)
            error = squares.sum() if importance is None else squares @ importance
            return start, back, float(error)

        yield from self._pool.map(work, starts)

    def _read(self, tensor: Tensor, start: int, count: int) -> npt.NDArray[Any]:
        """Read rows of a matrix from the file."""
        columns, dtype = tensor.shape[0], _STORED[tensor.type]
        header = self._profile.header
        offset = header.data_start + tensor.offset + start * columns * dtype.itemsize
        try:
            values = np.fromfile(header.path, dtype, count * columns, offset=offset)
            return values.reshape(count, columns)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"cannot read {tensor.name} of {header.path}: {error}", path=header.path
            ) from error

    def _write(self, name: str, values: npt.NDArray[Any], offset: int) -> None:
        ggml.ggml_backend_tensor_set(self._tensors[name], values.ctypes.data, offset, values.nbytes)


def _round_trip(values: Floats, tensor_type: str, importance: Floats | None) -> Floats:
    """Quantise rows and read them back."""
    number = TENSOR_TYPES[tensor_type].number
    if tensor_type == "F16":
        return values.astype(np.float16).astype(np.float32)
    rows, columns = values.shape
    stored = np.empty(rows * int(ggml.ggml_row_size(number, columns)), np.uint8)
    weights = None if importance is None else importance.ctypes.data
    ggml.ggml_quantize_chunk(
        number, values.ctypes.data, stored.ctypes.data, 0, rows, columns, weights
    )
    to_float = ggml[f"dequantize_row_{ggml.ggml_type_name(number).decode()}"]
    to_float.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    to_float.restype = None
    back = np.empty_like(values)
    to_float(stored.ctypes.data, back.ctypes.data, values.size)
    return back


def _find(model: Model, threads: int, names: set[str]) -> dict[str, int]:
    """Return the addresses of the matrices that a graph multiplies with or looks up in, by name."""
    tensors: dict[str, int] = {}
    failures: list[ModelError] = []

    def on_tensor(pointer: int, ask: bool, _user_data: object) -> bool:
        # No value is needed, so none is asked for. No exception can leave a callback.
        try:
            if ask and ggml.ggml_op_desc(pointer) in _USES:
                weights = tensor_at(pointer).src[0]
                # A copy for another device has another name.
                name = bytes(tensor_at(weights).name).decode("utf-8", "replace")
                if name in names:
                    tensors.setdefault(name, weights)
        except ModelError as error:
            failures.append(error)
        return not ask

    callback = api.ggml_backend_sched_eval_callback(on_tensor)
    params = api.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = _CELLS
    params.n_threads = params.n_threads_batch = threads
    params.embeddings = not model.profile.causal
    params.pooling_type = api.LLAMA_POOLING_TYPE_NONE
    params.cb_eval = callback
    handle = model.new_context(params)
    try:
        token = (api.llama_token * 1)(0)
        status = api.llama_decode(handle, api.llama_batch_get_one(token, 1))
    finally:
        api.llama_free(handle)
    model.check_decoded(status)
    if failures:
        raise failures[0]
    return tensors
