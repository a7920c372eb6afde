"""Importance matrices in GGUF files, as llama-imatrix writes and llama-quantize reads them.

Source of the format: llama.cpp's tools/imatrix/imatrix.cpp and common/imatrix-loader.cpp. For each
matrix NAME of the model there are two tensors: NAME.in_sum2, the sums of squares of its input's
columns, and NAME.counts, the number of summed rows; both float32, with a row for each expert.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.files import open_regular
from jlocal.gguf.header import Header, Tensor, read_header, shown
from jlocal.gguf.types import F32
from jlocal.outputs.atomic import atomic_write

_SUMS, _COUNTS = ".in_sum2", ".counts"
_DATASETS, _CHUNKS, _CHUNK = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
_MAX_ROWS = 1 << 53
_MAX_SIZE = 1 << 30  # bytes; the matrix of a model of 8 billion parameters takes 10 MB


@dataclass(frozen=True)
class Entry:
    """The statistics of the inputs of one matrix.

    Attributes:
        squares: sums of squares by column, (matrices, columns) float64; without experts there is
            one matrix.
        counts: number of summed rows, (matrices,) int64.

    """

    squares: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ImportanceMatrix:
    """The importance of each column of a model's matrices.

    Attributes:
        entries: the entries by name of the matrix.
        datasets: names of the calibration texts.
        chunks: number of sequences.
        chunk_size: their length in tokens; the mean if lengths differ.

    """

    entries: Mapping[str, Entry]
    datasets: tuple[str, ...]
    chunks: int
    chunk_size: int


def check(
    matrix: ImportanceMatrix, path: Path, shapes: Mapping[str, Sequence[int]], model: str
) -> None:
    """Check that an importance matrix belongs to a model.

    Args:
        matrix: the importance matrix.
        path: its file, for the message.
        shapes: shapes of the model's tensors by name, columns first, as in a GGUF file.
        model: name of the model for the message.

    Raises:
        ModelError: the matrix belongs to another model.

    """

    def foreign(reason: str) -> ModelError:
        return ModelError(
            f"{path} is an importance matrix of another model than {model}: {reason}", path=path
        )

    for name, entry in matrix.entries.items():
        if len(shapes.get(name, ())) < 2:
            raise foreign(f"it has {shown(name)}, which is not there")
        columns, _, *experts = shapes[name]
        if entry.squares.size != columns * prod(experts):
            raise foreign(f"for {name} it has {entry.squares.size:,} columns, not {columns:,}")
    for name, shape in shapes.items():
        in_layer = name.startswith("blk.") and name.endswith(".weight") and len(shape) > 1
        if in_layer and name not in matrix.entries:
            raise foreign(f"it has nothing for {name}")


def write(path: Path, matrix: ImportanceMatrix) -> None:
    """Write a matrix; the file appears when it is complete.

    Raises:
        OutputError: it cannot be written.

    """
    with atomic_write(path) as file:
        _write(Path(file.name), matrix)


def _write(path: Path, matrix: ImportanceMatrix) -> None:
    import gguf

    # It is no model, so it has no architecture.
    writer: Any = gguf.GGUFWriter(path, "")
    writer.kv_data[0].clear()
    writer.add_type("imatrix")
    writer.add_array(_DATASETS, list(matrix.datasets))
    writer.add_uint32(_CHUNKS, matrix.chunks)
    writer.add_uint32(_CHUNK, matrix.chunk_size)
    for name in sorted(matrix.entries):
        entry = matrix.entries[name]
        squares, counts = entry.squares.astype(np.float32), entry.counts.astype(np.float32)
        # As ggml does, which knows no dimension of one at the end.
        single = len(counts) == 1
        writer.add_tensor(name + _SUMS, squares[0] if single else squares)
        writer.add_tensor(name + _COUNTS, counts if single else counts[:, None])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def read(path: Path) -> ImportanceMatrix:
    """Read and check a matrix of ours or of llama-imatrix.

    Raises:
        ModelError: the file cannot be read, is no importance matrix, or contradicts itself.

    """
    _check_format(path)
    header = read_header(path)
    if header.metadata.get("general.type") != "imatrix":
        raise ModelError(f"{path} is a GGUF file, but no importance matrix", path=path)
    try:
        return ImportanceMatrix(
            _entries(header),
            _datasets(header.metadata.get(_DATASETS)),
            _number(header, _CHUNKS),
            _number(header, _CHUNK),
        )
    except ValueError as error:
        raise ModelError(f"{path} is not a usable importance matrix: {error}", path=path) from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", path=path) from error


def _check_format(path: Path) -> None:
    try:
        with open_regular(path) as file:
            magic = file.read(4)
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"cannot read the importance matrix {path}: {reason}", path=path
        ) from error
    if magic != b"GGUF":
        raise ModelError(
            f"{path} is not an importance matrix in a GGUF file; from the older .dat format "
            "llama-imatrix makes one: --in-file OLD.dat -o NEW.gguf",
            path=path,
        )
    if size > _MAX_SIZE:
        raise ModelError(f"{path} is too large for an importance matrix: {size:,} bytes", path=path)


def _number(header: Header, key: str) -> int:
    value = header.metadata.get(key)
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise ValueError(f"{key} is {shown(value)}")
    return value


def _datasets(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, tuple) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{_DATASETS} is {shown(value)}")
    return tuple(map(str, names))


def _entries(header: Header) -> dict[str, Entry]:
    tensors = {tensor.name: tensor for tensor in header.tensors}
    if len(tensors) != len(header.tensors):
        raise ValueError("a name occurs twice in it")
    names = [name.removesuffix(_SUMS) for name in tensors if name.endswith(_SUMS)]
    if not names:
        raise ValueError("there is nothing in it")
    unpaired = tensors.keys() - {name + end for name in names for end in (_SUMS, _COUNTS)}
    entries = {}
    for name in names:
        if name + _COUNTS not in tensors or unpaired:
            raise ValueError(f"sums and counts do not belong together at {shown(name)}")
        squares = _values(header, tensors[name + _SUMS])
        counts = _values(header, tensors[name + _COUNTS])
        if not counts.size or squares.size % counts.size:
            raise ValueError(f"{shown(name)} has {squares.size} sums and {counts.size} counts")
        if counts.max() > _MAX_ROWS:
            raise ValueError(f"{shown(name)} was multiplied with too many rows")
        entries[name] = Entry(squares.reshape(len(counts), -1), counts.round().astype(np.int64))
    return entries


def _values(header: Header, tensor: Tensor) -> npt.NDArray[np.float64]:
    """Read a tensor of finite numbers that are not negative; flat."""
    count = prod(tensor.shape)
    start = header.data_start + tensor.offset
    if tensor.type != F32.number or not 0 < 4 * count <= header.file_size - start:
        raise ValueError(f"{shown(tensor.name)} is not a float32 tensor within the file")
    stored = np.fromfile(header.path, np.dtype("<f4"), count, offset=start)
    with np.errstate(invalid="ignore"):  # a signalling NaN, which is found below
        values = stored.astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"{shown(tensor.name)} has numbers that are negative or not finite")
    return values
