"""The child process of `jlocal.llama.quantize`: a JSON request on stdin, a log on stdout."""

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

from jlocal.errors import ModelError
from jlocal.gguf.imatrix import Entry, read
from jlocal.llama.library import api, last_errors, logger
from jlocal.llama.quantize import EMBEDDING, OUTPUT
from jlocal.vectors import Floats

# Size of llama.cpp's buffer for rows; its default of 8 GiB would hold the largest tensor whole.
_BUFFER_BYTES = 64 << 20

# Size of a text in `llama_model_kv_override`, its terminating NUL included.
_TEXT_BYTES = 128
_INTEGER, _TEXT = 0, 3  # enum llama_model_kv_override_type


def _main() -> int:
    request = json.load(sys.stdin)
    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lambda record: record.getMessage().startswith("["))
    logger.addHandler(handler)
    params = api.llama_model_quantize_default_params()
    params.ftype = request["file_type"]
    params.nthread = request["threads"]
    params.pure = request["pure"]
    params.allow_requantize = request["allow_requantize"]
    params.max_buf_size = _BUFFER_BYTES
    tensor_types = dict(request["types"])
    # These two have their own fields, which also work when the file type is not quantised.
    params.token_embedding_type = tensor_types.pop(EMBEDDING, params.token_embedding_type)
    params.output_tensor_type = tensor_types.pop(OUTPUT, params.output_tensor_type)
    if tensor_types:
        params.tt_overrides = _overrides(tensor_types)
    # Python must keep the targets of the structures' pointers alive until the call has returned.
    try:
        matrix = _Matrix(Path(request["importance"])) if request["importance"] else None
    except ModelError as error:
        print(error, flush=True)  # noqa: T201
        return 1
    if matrix:
        params.imatrix = matrix.entries
        params.kv_overrides = matrix.description
    source, target = os.fsencode(request["source"]), os.fsencode(request["target"])
    status = api.llama_model_quantize(source, target, params)
    if status != 0:
        print(last_errors() or f"status {status}", flush=True)  # noqa: T201
    return 1 if status else 0


def _overrides(tensor_types: dict[str, int]) -> Any:
    """Return a NULL-terminated array of anchored names, in the syntax of std::regex."""
    override = api.llama_model_tensor_override
    rows = [override(f"^{re.escape(name)}$".encode(), n) for name, n in tensor_types.items()]
    return (override * (len(rows) + 1))(*rows)


class _Matrix:
    """An importance matrix as llama.cpp takes it.

    Attributes:
        entries: NULL-terminated array of the mean squares of each matrix's input.
        description: NULL-terminated array of the metadata that llama-quantize writes.

    """

    def __init__(self, path: Path) -> None:
        matrix = read(path)
        self._means = {name: _mean(entry) for name, entry in matrix.entries.items()}
        data_type = api.llama_model_imatrix_data
        floats = ctypes.POINTER(ctypes.c_float)
        rows = [
            data_type(name.encode(), mean.ctypes.data_as(floats), mean.size)
            for name, mean in self._means.items()
        ]
        self.entries = (data_type * (len(rows) + 1))(*rows)
        values: list[tuple[str, str | int]] = [("file", path.name), ("entries_count", len(rows))]
        values += [("dataset", name) for name in matrix.datasets[:1]]
        values += [("chunks_count", count) for count in (matrix.chunks,) if count]
        override = api.llama_model_kv_override
        keys = [_override(f"quantize.imatrix.{key}", value) for key, value in values]
        self.description = (override * (len(keys) + 1))(*keys)


def _mean(entry: Entry) -> Floats:
    """Return the mean square of each column, flat; 1 for columns without inputs."""
    squares = entry.squares.astype(np.float32)
    counts = entry.counts.astype(np.float32)[:, None]
    mean = np.divide(squares, counts, out=np.ones_like(squares), where=counts > 0)
    return np.ascontiguousarray(mean).reshape(-1)


def _override(key: str, value: str | int) -> Any:
    row = api.llama_model_kv_override(key=key.encode())
    if isinstance(value, int):
        row.tag, row.value.val_i64 = _INTEGER, value
    else:
        # Drop a character that does not fit whole.
        cut = value.encode()[: _TEXT_BYTES - 1].decode(errors="ignore")
        row.tag, row.value.val_str = _TEXT, cut.encode()
    return row


if __name__ == "__main__":
    sys.exit(_main())
