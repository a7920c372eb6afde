"""Widening of a model's quantised matrices to bfloat16, in memory, while llama.cpp loads it.

On a CPU that multiplies bfloat16 in hardware, llama.cpp computes with these weights twice as fast
as with Q8_0, and more exactly: with Q8_0 it rounds the activations to eight bits too.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jlocal.errors import ModelError
from jlocal.gguf.header import Header, Tensor
from jlocal.gguf.types import BF16
from jlocal.llama.library import ggml
from jlocal.llama.wide import QUANTISED, in_layer, stored_sizes
from jlocal.terms import Argument
from jlocal.waiting import result_of

_STORED = Argument("compute_type", "stored")
_INSTEAD = f"compute with the stored weights: {_STORED}"

# Values in one step. The bytes read, the float32 values and the bytes written stay in the L2 cache.
# A multiple of every quantisation's block size.
_STEP = 1 << 16


class Widened:
    """A GGUF file in memory with the same model, which threads are filling.

    Only the matrices of the layers are widened: a text needs few rows of the token embeddings.
    """

    def __init__(self, header: Header, threads: int) -> None:
        """Write the header, and begin to write the weights.

        Raises:
            ModelError: the file contradicts itself or has nothing to widen, or memory runs out.

        """
        if not hasattr(os, "memfd_create"):
            raise ModelError(f"only Linux can widen weights in memory; {_INSTEAD}", _STORED)
        self._path = header.path
        parts = list(_plan(header))
        if not any(part.widen for part in parts):
            raise ModelError(
                f"{header.path} has no quantised weights to widen to bfloat16", path=header.path
            )
        with contextlib.ExitStack() as opened:
            try:
                self._source = os.open(header.path, os.O_RDONLY)
                opened.callback(os.close, self._source)
                self._file = os.memfd_create("jlocal")
                opened.callback(os.close, self._file)
                start = self._write_header(header, parts)
                os.ftruncate(self._file, start + max(part.target + part.size for part in parts))
            except OSError as error:
                raise self._failure(error) from error
            self._opened = opened.pop_all()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="jlocal-widen")
        self._work = [
            self._pool.submit(
                self._widen if part.widen else self._copy, part, header.data_start, start
            )
            for part in parts
        ]

    @property
    def path(self) -> Path:
        """The path by which llama.cpp opens the file, until it is closed."""
        return Path(f"/proc/self/fd/{self._file}")

    def wait(self) -> None:
        """Wait until all weights are written.

        Raises:
            ModelError: the model cannot be read, or memory runs out.

        """
        try:
            for part in self._work:
                result_of(part)
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file; a process that has mapped it keeps the memory."""
        self._pool.shutdown(cancel_futures=True)
        self._opened.close()

    def _write_header(self, header: Header, parts: list[_Part]) -> int:
        """Copy the metadata, write a new tensor table; return the offset of the data."""
        table = b"".join(_row(part) for part in parts)
        self._write(self._read(header.table_start, 0) + table, 0)
        return _align(header.table_start + len(table), header.alignment)

    def _copy(self, part: _Part, source: int, target: int) -> None:
        for start in range(0, part.size, _STEP):
            count = min(_STEP, part.size - start)
            data = self._read(count, source + part.tensor.offset + start)
            self._write(data, target + part.target + start)

    def _widen(self, part: _Part, source: int, target: int) -> None:
        kind = part.tensor.type
        block, size = ggml.ggml_blck_size(kind), ggml.ggml_type_size(kind)
        to_float = ggml[f"dequantize_row_{ggml.ggml_type_name(kind).decode()}"]
        to_float.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64]
        to_float.restype = None
        floats, wide = np.empty(_STEP, np.float32), np.empty(_STEP, np.uint16)
        for start in range(0, part.size // 2, _STEP):
            count = min(_STEP, part.size // 2 - start)
            position = source + part.tensor.offset + start // block * size
            to_float(self._read(count // block * size, position), floats.ctypes.data, count)
            ggml.ggml_fp32_to_bf16_row(floats.ctypes.data, wide.ctypes.data, count)
            self._write(wide[:count].data.cast("B"), target + part.target + 2 * start)

    def _read(self, count: int, position: int) -> bytes:
        if sys.platform == "win32":  # no Widened exists there
            raise NotImplementedError
        data = os.pread(self._source, count, position)
        if len(data) < count:
            raise ModelError(
                f"{self._path} ends too early; download or convert the model again", path=self._path
            )
        return data

    def _write(self, data: bytes | memoryview, position: int) -> None:
        if sys.platform == "win32":  # no Widened exists there
            raise NotImplementedError
        while data:
            count = os.pwrite(self._file, data, position)
            data, position = data[count:], position + count

    def _failure(self, error: OSError) -> ModelError:
        return ModelError(
            f"cannot widen the weights of {self._path} in memory: {error.strerror}; {_INSTEAD}",
            _STORED,
            path=self._path,
        )


@dataclass(frozen=True)
class _Part:
    """A tensor of the file, with its offset and size in the data of the new file, in bytes."""

    tensor: Tensor
    target: int
    size: int
    widen: bool


def _plan(header: Header) -> Iterator[_Part]:
    target = 0
    for tensor, size in stored_sizes(header):
        widen = in_layer(tensor) and tensor.type in QUANTISED
        if widen:
            values, block = math.prod(tensor.shape), ggml.ggml_blck_size(tensor.type)
            narrow = values // block * ggml.ggml_type_size(tensor.type)
            if tensor.shape[0] % block or narrow > size:
                raise ModelError(
                    f"{header.path} is not a usable GGUF file: {tensor.name!r} of shape "
                    f"{tensor.shape} does not fit into the file; download or convert the model "
                    "again",
                    path=header.path,
                )
            size = 2 * values
        yield _Part(tensor, target, size, widen)
        target = _align(target + size, header.alignment)


def _row(part: _Part) -> bytes:
    """Pack a row of the tensor table: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""
    name, shape = part.tensor.name.encode(), part.tensor.shape
    kind = BF16.number if part.widen else part.tensor.type
    head = struct.pack(f"<Q{len(name)}sI", len(name), name, len(shape))
    return head + struct.pack(f"<{len(shape)}QIQ", *shape, kind, part.target)


def _align(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment
