"""A GGUF writer: the header first, then the tensors in blocks of rows, in any order.

Source of the format: ggml's docs/gguf.md; gguf.GGUFWriter packs the header.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import gguf
from jlocal.errors import CheckpointError
from jlocal.gguf.types import F16, F32, FILE_TYPES, TENSOR_TYPES, TensorType

# Types that this package encodes, block by block; llama.cpp makes other types from a whole file.
DIRECT_TYPES = ("F32", "F16", "BF16", "Q8_0")

# The greatest magnitude that a type holds. Quantised types have scales in F16.
_LARGEST = {"F32": float(np.finfo(np.float32).max), "BF16": 3.3895313892515355e38}
_LARGEST_F16 = 65504.0

_DIGEST_KEY = "jlocal.source_sha256"
_DIGEST_LENGTH = 64


@dataclass(frozen=True)
class _Place:
    """A tensor's type, its offset in the file and the size of its rows, in bytes."""

    type: TensorType
    offset: int
    row_bytes: int


def tensor_type(type_name: str, name: str, shape: Sequence[int]) -> TensorType:
    """Return the type of a tensor in a file whose matrices are of type `type_name`.

    The rule is that of llama.cpp's converter: vectors stay F32, and rows that are not a whole
    number of quantisation blocks become F16.
    """
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return F32
    requested = TENSOR_TYPES[type_name]
    return F16 if shape[-1] % requested.block_size else requested


def largest(type_names: Iterable[str]) -> float:
    """Return the greatest magnitude that all of these types hold."""
    return min(_LARGEST.get(name, _LARGEST_F16) for name in type_names)


class GGUFFile:
    """A GGUF file under construction; blocks may be written in any order, from any thread."""

    def __init__(
        self, path: Path, type_name: str, metadata: Any, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        """Write the header.

        Args:
            path: the file; it is overwritten.
            type_name: one of DIRECT_TYPES.
            metadata: a gguf.GGUFWriter with all keys but the type and the digest.
            shapes: the shapes of all tensors, by name.

        Raises:
            CheckpointError: the metadata cannot be written.

        """
        self.path, self.type_name = path, type_name
        writer = gguf.GGUFWriter(path, metadata.arch)
        writer.kv_data[0].update(metadata.kv_data[0])
        writer.add_file_type(FILE_TYPES[type_name])
        # The last key, of fixed length, so that the digest can be filled in later.
        writer.add_string(_DIGEST_KEY, "0" * _DIGEST_LENGTH)
        types = {name: tensor_type(type_name, name, shape) for name, shape in shapes.items()}
        for name, shape in shapes.items():
            writer.add_tensor_info(
                name,
                shape,
                np.dtype(np.float32),
                types[name].nbytes(shape),
                gguf.GGMLQuantizationType(types[name].number),
            )
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            self._digest_at = path.stat().st_size - _DIGEST_LENGTH
            writer.write_ti_data_to_file()
        except (TypeError, ValueError, AttributeError, struct.error) as error:
            raise CheckpointError(
                f"the metadata of {path.name} cannot be written: {error}; "
                "correct README.md or tokenizer_config.json"
            ) from error
        finally:
            writer.close()
        self._places = self._lay_out(types, shapes, path.stat().st_size)

    def _lay_out(
        self, types: dict[str, TensorType], shapes: dict[str, tuple[int, ...]], position: int
    ) -> dict[str, _Place]:
        places = {}
        position = _padded(position)
        for name, shape in shapes.items():
            # The rows of a vector are its elements.
            row = types[name].nbytes(shape[1:])
            places[name] = _Place(types[name], position, row)
            position += _padded(row * shape[0])
        os.truncate(self.path, position)
        return places

    def write_rows(self, name: str, first: int, rows: npt.NDArray[np.float32]) -> None:
        """Encode and write rows of a tensor, from row `first` on."""
        place = self._places[name]
        encoded = np.ascontiguousarray(
            gguf.quants.quantize(rows, gguf.GGMLQuantizationType(place.type.number))
        )
        with self.path.open("r+b") as file:
            file.seek(place.offset + first * place.row_bytes)
            file.write(encoded.data)

    def write_digest(self, digest: str) -> None:
        """Fill in the SHA-256 of the source files, 64 hexadecimal digits."""
        with self.path.open("r+b") as file:
            file.seek(self._digest_at)
            file.write(digest.encode("ascii"))


def _padded(size: int) -> int:
    alignment = int(gguf.GGUF_DEFAULT_ALIGNMENT)
    return -(-size // alignment) * alignment
