"""Reading a GGUF header: metadata and tensor table, without the weights.

Source of the format: the GGUF specification in ggml's docs/gguf.md. The file is untrusted: every
count and length is checked before it is used to read or allocate memory.
"""

from __future__ import annotations

import mmap
import reprlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from jlocal.errors import ModelError

Scalar: TypeAlias = int | float | bool | str
Value: TypeAlias = "Scalar | tuple[Scalar, ...] | LongArray"

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9

# Far above every model in use, but too low for a header to exhaust memory.
_MAX_KEYS = 65_536
_MAX_TENSORS = 1_000_000
_MAX_NAME = 65_535
_MAX_STRING = 16 << 20
_MAX_ARRAY = 16_000_000
_MAX_KEPT_ARRAY = 1024
# In bytes; a vocabulary of 262,144 tokens with its merges takes 20 MB.
MAX_HEADER = 128 << 20

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxtuple = 2


def shown(value: object) -> str:
    """Return a value from a file for a message: short, and on one line."""
    return _short.repr(value)


@dataclass(frozen=True)
class LongArray:
    """A long array of metadata, such as the vocabulary, which was checked but not kept."""

    length: int


@dataclass(frozen=True)
class Tensor:
    """One row of the tensor table; `type` is ggml's type number, `offset` in bytes."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file.

    Attributes:
        table_start: position of the tensor table in the file, in bytes.
        data_start: position that the tensors' offsets are relative to, in bytes.

    """

    path: Path
    file_size: int
    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    table_start: int
    data_start: int
    alignment: int


class _Cursor:
    """A bounds-checked position in the mapped file."""

    def __init__(self, data: mmap.mmap, max_header: int) -> None:
        self.data, self.position, self.size = data, 0, len(data)
        self._max_header = max_header

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > self.size:
            raise ValueError("it ends in the middle of the header")
        if end > self._max_header:
            raise ValueError(f"its header is above the limit of {self._max_header:,} bytes")
        chunk = self.data[self.position : end]
        self.position = end
        return chunk

    def unpack(self, code: str) -> Scalar:
        layout = struct.Struct("<" + code)
        value: Scalar = layout.unpack(self.take(layout.size))[0]
        return value

    def count(self, code: str, limit: int, what: str) -> int:
        value = int(self.unpack(code))
        if value > limit:
            raise ValueError(f"{what} is {value:,}, above the limit of {limit:,}")
        return value

    def string(self, limit: int, what: str) -> str:
        return self.take(self.count("Q", limit, f"the length of {what}")).decode("utf-8", "replace")


def read_header(path: str | Path, max_header: int = MAX_HEADER) -> Header:
    """Read and check the header of a GGUF file.

    Args:
        path: the file.
        max_header: the most bytes that its header may have.

    Raises:
        ModelError: the file cannot be read, is not a GGUF file, or is malformed.

    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path} is empty; download or convert the model again", path=path)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(path, _Cursor(data, max_header))
    except ValueError as error:
        raise ModelError(
            f"{path} is not a usable GGUF file: {error}; download or convert the model again",
            path=path,
        ) from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", path=path) from error


def _read(path: Path, cursor: _Cursor) -> Header:
    magic = cursor.take(min(4, cursor.size))
    if magic != _MAGIC:
        raise ValueError("it does not begin as GGUF files do")
    version = int(cursor.unpack("I"))
    if version not in _VERSIONS:
        raise ValueError(_version_error(version))
    tensor_count = cursor.count("Q", _MAX_TENSORS, "the number of tensors")
    key_count = cursor.count("Q", _MAX_KEYS, "the number of metadata keys")
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = cursor.string(_MAX_NAME, "a key")
        if key in metadata:
            raise ValueError(f"the key {shown(key)} occurs twice")
        metadata[key] = _read_value(cursor, key)
    table_start = cursor.position
    tensors = tuple(_read_tensor(cursor) for _ in range(tensor_count))
    alignment = _alignment(metadata)
    data_start = -(-cursor.position // alignment) * alignment
    for tensor in tensors:
        if data_start + tensor.offset >= cursor.size:
            raise ValueError(f"it ends before the tensor {shown(tensor.name)}; it was cut off")
    return Header(
        path,
        cursor.size,
        version,
        MappingProxyType(metadata),
        tensors,
        table_start,
        data_start,
        alignment,
    )


def _version_error(version: int) -> str:
    # llama.cpp's test for big-endian files: no version needs the upper half of these bytes.
    if version and not version & 0xFFFF:
        return "it is big-endian, and only little-endian files can be read here"
    newer = ", and a newer jlocal may know it" if version > max(_VERSIONS) else ""
    return f"its version is {version:,}; versions 2 and 3 are known{newer}"


def _read_value(cursor: _Cursor, key: str) -> Value:
    type_number = int(cursor.unpack("I"))
    if type_number == _STRING:
        return cursor.string(_MAX_STRING, shown(key))
    if type_number == _ARRAY:
        return _read_array(cursor, key)
    if type_number not in _SCALARS:
        raise ValueError(f"the key {shown(key)} has the unknown type {type_number}")
    return cursor.unpack(_SCALARS[type_number])


def _read_array(cursor: _Cursor, key: str) -> Value:
    type_number = int(cursor.unpack("I"))
    count = cursor.count("Q", _MAX_ARRAY, f"the length of {shown(key)}")
    if type_number == _STRING:
        if count <= _MAX_KEPT_ARRAY:
            return tuple(cursor.string(_MAX_STRING, shown(key)) for _ in range(count))
        _skip_strings(cursor, count)
        return LongArray(count)
    if type_number not in _SCALARS:
        raise ValueError(f"the array {shown(key)} has the unknown or nested type {type_number}")
    layout = struct.Struct(f"<{count}{_SCALARS[type_number]}")
    if count <= _MAX_KEPT_ARRAY:
        return layout.unpack(cursor.take(layout.size))
    if cursor.position + layout.size > cursor.size:
        raise ValueError("it ends in the middle of the header")
    cursor.position += layout.size
    return LongArray(count)


def _skip_strings(cursor: _Cursor, count: int) -> None:
    """Skip a vocabulary without building strings: this runs at every start."""
    length_at = struct.Struct("<Q").unpack_from
    data, position = cursor.data, cursor.position
    try:
        for _ in range(count):
            position += 8 + length_at(data, position)[0]
    except (struct.error, OverflowError):
        position = cursor.size + 1
    if position > cursor.size:
        raise ValueError("it ends in the middle of the header")
    cursor.position = position


def _read_tensor(cursor: _Cursor) -> Tensor:
    name = cursor.string(_MAX_NAME, "a tensor name")
    dimensions = cursor.count("I", 4, f"the number of dimensions of {shown(name)}")
    shape = tuple(int(cursor.unpack("Q")) for _ in range(dimensions))
    return Tensor(name, shape, int(cursor.unpack("I")), int(cursor.unpack("Q")))


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    # The format requires a multiple of 8, llama.cpp a power of 2.
    if not isinstance(alignment, int) or not 8 <= alignment <= 1 << 20 or alignment.bit_count() > 1:
        raise ValueError(f"its alignment is {shown(alignment)}")
    return alignment
