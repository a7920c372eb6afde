"""A reader of safetensors files, a block of rows at a time.

Source of the format: https://huggingface.co/docs/safetensors/index#format. The reference reader
maps the file into memory, where mapped pages count as used, and gives numpy no BF16.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.errors import CheckpointError
from jlocal.files import open_regular
from jlocal_convert.checkpoint.json_config import parse_object

# The reference implementation's own limit.
_MAX_HEADER = 100_000_000
_MAX_DIMENSIONS = 8
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: `start` is its offset from the beginning of the file, in bytes."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def nbytes(self) -> int:
        """Its size in the file, in bytes."""
        return prod(self.shape) * _TYPES[self.dtype].itemsize


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Read the tensor table of a file, and check it against the file's size.

    Raises:
        CheckpointError: the header is corrupt, names a type other than F32, F16 and BF16, or
            does not describe each byte of the file exactly once.

    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER):
                raise _corrupt(path, f"a header of {length:,} bytes in a file of {size:,}")
            header = file.read(length)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} has no {path.name}; it is incomplete", path=path.parent
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", path=path
        ) from error
    entries = parse_object(header, path, what="the header of ")
    entries.pop("__metadata__", None)
    data_start = 8 + length
    tensors = [_tensor(path, name, entry, data_start) for name, entry in entries.items()]
    _check_coverage(path, tensors, data_start, size)
    return {tensor.name: tensor for tensor in tensors}


def read_rows(
    tensor: StoredTensor, first: int = 0, count: int | None = None
) -> npt.NDArray[np.float32]:
    """Read `count` rows from row `first` on, or all rows, as float32.

    Returns:
        (count, *tensor.shape[1:]) float32; the rows of a vector are its elements.

    Raises:
        CheckpointError: the file cannot be read.

    """
    count = tensor.shape[0] if count is None else count
    dtype = _TYPES[tensor.dtype]
    width = prod(tensor.shape[1:])
    offset = tensor.start + first * width * dtype.itemsize
    try:
        raw = np.fromfile(tensor.path, dtype, count * width, offset=offset)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {tensor.path}: {error.strerror or error}", path=tensor.path
        ) from error
    if raw.size != count * width:
        raise CheckpointError(
            f"{tensor.path} was truncated while it was read; start again", path=tensor.path
        )
    return _as_float32(raw, tensor.dtype).reshape(count, *tensor.shape[1:])


def _as_float32(raw: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    if dtype == "BF16":
        # The upper half of a float32.
        bits = raw.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return raw.astype(np.float32, copy=False)


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> StoredTensor:
    if not isinstance(entry, dict):
        raise _corrupt(path, f"no description of {name!r}")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not _are_sizes(shape, _MAX_DIMENSIONS) or not _are_sizes(offsets, 2) or len(offsets) != 2:
        raise _corrupt(path, f"no usable shape or offsets of {name!r}")
    if dtype not in _TYPES:
        raise CheckpointError(
            f"{path}: {name!r} has the type {str(dtype)[:40]!r}; "
            f"only {', '.join(_TYPES)} can be converted",
            path=path,
        )
    tensor = StoredTensor(name, path, dtype, tuple(shape), data_start + offsets[0])
    if offsets[1] - offsets[0] != tensor.nbytes:
        raise _corrupt(path, f"{name!r} does not take the bytes that its shape needs")
    return tensor


def _are_sizes(value: Any, most: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(type(size) is int and 0 <= size < 1 << 48 for size in value)
    )


def _check_coverage(path: Path, tensors: list[StoredTensor], start: int, size: int) -> None:
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.nbytes)):
        if tensor.start + tensor.nbytes > size:
            raise _corrupt(path, f"{tensor.name!r} lies beyond the end of the file")
        if tensor.start != start:
            what = "overlaps another tensor" if tensor.start < start else "follows unused bytes"
            raise _corrupt(path, f"{tensor.name!r} {what}")
        start += tensor.nbytes
    if start != size:
        raise _corrupt(path, f"{size - start:,} bytes after the last tensor")


def _corrupt(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a valid safetensors file: {what}; download it again", path=path
    )
