"""Activation statistics for an importance matrix: the squared inputs of each matrix, by column.

The larger the inputs that a column is multiplied with, the more its weights matter. llama-imatrix
collects the same sums over windows of a text. Here each text is one sequence, as when it is
embedded, and only the products that its vector needs are counted: a decoder computes the last
feed-forward for the last token alone, and skips the vocabulary head.
"""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.gguf.types import F32
from jlocal.llama.batch import Batch
from jlocal.llama.library import api, ggml
from jlocal.llama.model import Model
from jlocal.llama.tensors import name_of, rows_of, tensor_at
from jlocal.llama.tokenizer import Tokens
from jlocal.waiting import result_of

_HEAD = b"result_norm"  # the last tensor of a decoder's graph before the vocabulary head
_PRODUCT = b"MUL_MAT"
_CELLS = 256  # llama.cpp rounds a context up to this


@dataclass
class Sums:
    """Sums over the input rows of one matrix product.

    Attributes:
        squares: sum of squares by column, (columns,) float64.
        count: number of rows.

    """

    squares: npt.NDArray[np.float64]
    count: int = 0


class Activations:
    """Collects the squared inputs of every matrix in a model's layers; a context manager.

    Attributes:
        sums: the sums of each matrix by its name, such as blk.0.attn_q.weight.

    """

    def __init__(self, model: Model, *, threads: int) -> None:
        """Prepare to collect.

        Args:
            model: a loaded model, with its weights as stored.
            threads: CPU threads.

        """
        self._model, self._threads = model, threads
        profile = model.profile
        self._decodes = profile.causal
        self.sums: dict[str, Sums] = {}
        self._failure: BaseException | None = None
        self._read: tuple[int, npt.NDArray[np.float32]] | None = None
        # llama.cpp keeps the bare address: this reference keeps the callback alive.
        self._callback = api.ggml_backend_sched_eval_callback(self._on_tensor)
        self._capacity = 0
        self._free: weakref.finalize[..., Activations] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="jlocal-activations")

    def __enter__(self) -> Activations:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._worker.submit(self._release).result()
        finally:
            self._worker.shutdown()

    def _release(self) -> None:
        if self._free:
            self._free()
        self._capacity = 0

    def add(self, tokens: Tokens) -> None:
        """Compute one text and add its inputs to the sums.

        Args:
            tokens: the text with its prompt, special tokens included; not empty.

        Raises:
            ModelError: llama.cpp cannot compute the text, or an input is not finite.

        """
        # In the main thread, Ctrl-C would be raised inside a callback and lost there.
        work = self._worker.submit(self._compute, tokens)
        try:
            result_of(work)
        except BaseException as error:
            if not work.done():
                self._failure = error  # ends the graph
                wait([work])
            raise

    def _compute(self, tokens: Tokens) -> None:
        self._grow(len(tokens))
        memory = api.llama_get_memory(self._handle)
        if memory:
            api.llama_memory_clear(memory, False)
        self._read = None
        # Each text fits into one call: a row's number is its token's.
        for _ in self._batch.fill([tokens], every_output=False):
            status = api.llama_decode(self._handle, self._batch.raw)
        if self._failure:
            failure, self._failure = self._failure, None
            raise failure
        self._model.check_decoded(status)

    def _on_tensor(self, pointer: int, ask: bool, _user_data: object) -> bool:
        # No exception can leave a callback: ctypes would print it and drop it.
        try:
            return self._look(pointer, ask)
        except BaseException as error:
            self._failure = error
            return ask  # True: be called again, and end the graph then

    def _look(self, pointer: int, ask: bool) -> bool:
        if self._failure:
            return ask
        if self._decodes and ggml.ggml_get_name(pointer) == _HEAD:
            return ask  # the graph ends here
        if ggml.ggml_op_desc(pointer) != _PRODUCT:
            return not ask
        tensor = tensor_at(pointer)
        weight, source = tensor_at(tensor.src[0]), tensor_at(tensor.src[1])
        name = name_of(weight)
        if not name.startswith("blk.") or source.type != F32.number:
            return not ask
        if not ask and source.ne[1]:
            self._add(name, tensor.src[1])
        return True

    def _add(self, name: str, pointer: int) -> None:
        squares = self._squares(pointer)
        entry = self.sums.get(name)
        if entry is None:
            entry = self.sums[name] = Sums(np.zeros(squares.shape[1]))
        # A text has at most some thousand rows, which float32 can sum.
        if entry.squares.shape != squares.shape[1:]:
            raise ModelError(
                f"{name} of {self._model.profile.path} is used in more ways than one",
                path=self._model.profile.path,
            )
        entry.squares += squares.sum(axis=0)
        entry.count += len(squares)
        if not np.isfinite(entry.squares).all():
            raise ModelError(
                f"the inputs of {name} of {self._model.profile.path} are not finite; "
                "convert the model again, to F32 or BF16",
                path=self._model.profile.path,
            )

    def _squares(self, pointer: int) -> npt.NDArray[np.float32]:
        """Read a product's input once for queries, keys and values, or for gate and up."""
        if self._read and self._read[0] == pointer:
            return self._read[1]
        values = rows_of(pointer)
        with np.errstate(over="ignore"):
            np.square(values, out=values)
        self._read = (pointer, values)
        return values

    def _grow(self, tokens: int) -> None:
        if tokens <= self._capacity:
            return
        self._release()
        params = api.llama_context_default_params()
        size = max(_CELLS, 1 << (tokens - 1).bit_length())
        params.n_ctx = params.n_batch = params.n_ubatch = size
        params.n_threads = params.n_threads_batch = self._threads
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.embeddings = not self._decodes
        if self._decodes:
            params.n_outputs_max = 1
        params.pooling_type = api.LLAMA_POOLING_TYPE_NONE
        params.cb_eval = self._callback
        handle = self._model.new_context(params)
        self._handle, self._capacity, self._batch = handle, size, Batch(size)
        # The model and the callback must outlive the context, also when nobody closes it.
        self._free = weakref.finalize(self, _free, handle, self._model, self._callback)


def _free(handle: int, *_used_until_now: object) -> None:
    api.llama_free(handle)
