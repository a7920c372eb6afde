"""The child process of `jlocal.llama.quantize`: an order as JSON on stdin, a log on stdout."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.llama.library import api, last_errors, logger
from jlocal.llama.quantize import EMBEDDING, OUTPUT

# Rows that llama.cpp holds at once; its default of 8 GiB would hold the largest tensor whole.
_BUFFER_BYTES = 64 << 20

# The room for a text in `llama_model_kv_override`, its end included.
_TEXT_BYTES = 128
_INTEGER, _TEXT = 0, 3  # enum llama_model_kv_override_type


def _main() -> int:
    order = json.load(sys.stdin)
    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lambda record: record.getMessage().startswith("["))
    logger.addHandler(handler)
    params = api.llama_model_quantize_default_params()
    params.ftype = order["file_type"]
    params.nthread = order["threads"]
    params.pure = order["pure"]
    params.allow_requantize = order["allow_requantize"]
    params.max_buf_size = _BUFFER_BYTES
    kinds = dict(order["types"])
    # For these two there are fields, which count also where the file type is no quantised one.
    params.token_embedding_type = kinds.pop(EMBEDDING, params.token_embedding_type)
    params.output_tensor_type = kinds.pop(OUTPUT, params.output_tensor_type)
    if kinds:
        params.tt_overrides = _overrides(kinds)
    # Python must hold what the structures point at until the call has returned.
    matrix = _Matrix(Path(order["importance"])) if order["importance"] else None
    if matrix:
        params.imatrix = matrix.entries
        params.kv_overrides = matrix.description
    source, target = os.fsencode(order["source"]), os.fsencode(order["target"])
    status = api.llama_model_quantize(source, target, params)
    if status != 0:
        print(last_errors() or f"status {status}", flush=True)  # noqa: T201
    return 1 if status else 0


def _overrides(kinds: dict[str, int]) -> Any:
    """NULL-terminated array of anchored names, in the dialect of std::regex."""
    kind = api.llama_model_tensor_override
    rows = [kind(f"^{re.escape(name)}$".encode(), number) for name, number in kinds.items()]
    return (kind * (len(rows) + 1))(*rows)


class _Matrix:
    """An importance matrix as llama.cpp takes it.

    Attributes:
        entries: NULL-terminated array of the mean squares of each matrix's input.
        description: NULL-terminated array of metadata, as llama-quantize writes them.

    """

    def __init__(self, path: Path) -> None:
        import gguf

        reader = gguf.GGUFReader(path)
        self._means = dict(_means({tensor.name: tensor.data for tensor in reader.tensors}))
        kind = api.llama_model_imatrix_data
        floats = ctypes.POINTER(ctypes.c_float)
        rows = [
            kind(name.encode(), mean.ctypes.data_as(floats), mean.size)
            for name, mean in self._means.items()
        ]
        self.entries = (kind * (len(rows) + 1))(*rows)
        described: list[tuple[str, str | int]] = [("file", path.name), ("entries_count", len(rows))]
        if (field := reader.get_field("imatrix.datasets")) and len(field.data):
            described.append(("dataset", field.contents(0)))
        if (field := reader.get_field("imatrix.chunk_count")) and field.contents():
            described.append(("chunks_count", int(field.contents())))
        override = api.llama_model_kv_override
        keys = [_override(f"quantize.imatrix.{key}", value) for key, value in described]
        self.description = (override * (len(keys) + 1))(*keys)


def _means(tensors: dict[str, npt.NDArray[np.float32]]) -> Any:
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            matrix = name.removesuffix(".in_sum2")
            count = tensors[f"{matrix}.counts"].reshape(-1, 1)
            sums = sums.reshape(len(count), -1)
            mean = np.divide(sums, count, out=np.ones_like(sums), where=count > 0)
            yield matrix, np.ascontiguousarray(mean, dtype=np.float32).reshape(-1)


def _override(key: str, value: str | int) -> Any:
    row = api.llama_model_kv_override(key=key.encode())
    if isinstance(value, int):
        row.tag, row.value.val_i64 = _INTEGER, value
    else:
        # A character that does not fit whole is left out.
        cut = value.encode()[: _TEXT_BYTES - 1].decode(errors="ignore")
        row.tag, row.value.val_str = _TEXT, cut.encode()
    return row


if __name__ == "__main__":
    sys.exit(_main())
