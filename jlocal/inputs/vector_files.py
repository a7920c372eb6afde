"""Reading vectors with their ids from Parquet and npz files, in bounded memory."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jlocal import extras
from jlocal.errors import ArgumentError, TextError
from jlocal.files import open_regular
from jlocal.vectors import Vectors

# Columns of vectors, by the names that programs give them, the likeliest first.
_VECTORS = ("vector", "embedding", "embeddings", "vectors")
_ROWS = 1024
_LONGEST_METADATA = 1 << 20
_MOST_DIMENSIONS, _LONGEST_ID = 1 << 16, 1 << 12


@dataclass(frozen=True)
class Block:
    """Some rows of a file.

    Attributes:
        ids: of the rows.
        vectors: of each row (d,), of whatever number type; None where it has none.
        columns: all other columns by name: of each row a text, a number, True, False or None.

    """

    ids: list[str]
    vectors: list[Vectors | None]
    columns: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class VectorFile:
    """An open file.

    Attributes:
        path: the file.
        made: how its vectors were made, as jlocal wrote it; empty for files of other programs.
        blocks: its rows, to be read once.

    """

    path: Path
    made: Mapping[str, object]
    blocks: Iterator[Block]


def vector_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and the Parquet files in the folders, in the order of their names.

    Raises:
        ArgumentError: a path is missing, or a folder has no Parquet file.

    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.glob("*.parquet") if file.name[0] not in "._")
            if not inside:
                raise ArgumentError(
                    f"{path}: there is no .parquet file in this folder", argument="paths"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ArgumentError(f"{path}: no such file or folder", argument="paths")
    return found


@contextmanager
def open_vectors(path: Path, id: str = "id", vector: str | None = None) -> Iterator[VectorFile]:
    """Open a file of vectors.

    Args:
        path: a .parquet file, or an .npz file with the arrays `embeddings` (n, d) and `ids` (n,).
        id: the column of ids, in Parquet.
        vector: the column of vectors; None takes "vector" or "embedding".

    Raises:
        ArgumentError: it has no such column, or two columns of one name.
        ExtraError: pyarrow is not installed.
        TextError: it cannot be read, or is of another format.

    """
    try:
        with ExitStack() as stack:
            if path.suffix.lower() == ".parquet":
                yield _open_parquet(stack, path, id, vector)
            elif path.suffix.lower() == ".npz":
                yield _open_npz(stack, path)
            else:
                raise TextError(
                    f"{path}: vectors are read from .parquet and .npz files; write one of them"
                )
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, ArgumentError):
            raise
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise TextError(f"{path}: {reason}") from error


def _open_parquet(stack: ExitStack, path: Path, id: str, vector: str | None) -> VectorFile:
    with extras.importing("parquet", "Parquet files need"):
        import pyarrow.parquet
    source = stack.enter_context(open_regular(path))
    table = stack.enter_context(pyarrow.parquet.ParquetFile(source))
    schema = table.schema_arrow
    vector = vector or next((name for name in _VECTORS if name in schema.names), "vector")
    for name in (id, vector):
        if name not in schema.names:
            known = ", ".join(schema.names)[:300]
            raise ArgumentError(
                f"{path} has no column {name!r}; it has: {known}", argument="vector"
            )
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise ArgumentError(
            f"{path} has two columns of the name {twice[0]!r}; rename one", argument="vector"
        )
    made = _made((schema.metadata or {}).get(b"jlocal", b""))
    return VectorFile(path, made, _parquet_blocks(table, id, vector))


def _parquet_blocks(table: Any, id: str, vector: str) -> Iterator[Block]:
    for batch in table.iter_batches(_ROWS):
        columns = {
            name: column.to_pylist()
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
            if name != vector and not _is_nested(column.type)
        }
        lists = batch.column(vector)
        if not hasattr(lists, "flatten"):
            raise ArgumentError(
                f"the column {vector!r} has no vectors, but {lists.type}", argument="vector"
            )
        vectors = [
            None if item is None else np.asarray(item.to_numpy(zero_copy_only=False))
            for item in (scalar.values for scalar in lists)
        ]
        yield Block(_ids(columns.pop(id, [])), vectors, columns)


def _is_nested(type: Any) -> bool:
    return bool(type.num_fields) or "binary" in str(type)


def _ids(values: Sequence[object]) -> list[str]:
    if not all(isinstance(value, (str, int)) for value in values):
        raise TextError("an id is neither a text nor a whole number")
    return [str(value) for value in values]


def _open_npz(stack: ExitStack, path: Path) -> VectorFile:
    archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(open_regular(path))))
    names = archive.namelist()
    stored = next((name for name in _VECTORS if f"{name}.npy" in names), None)
    if stored is None or "ids.npy" not in names:
        raise ArgumentError(
            f"{path} has no arrays `embeddings` and `ids`; it has: {names[:9]}", argument="path"
        )
    vectors = _Array(stack.enter_context(archive.open(f"{stored}.npy")))
    ids = _Array(stack.enter_context(archive.open("ids.npy")))
    (rows, width), type = (*vectors.shape, 0, 0)[:2], vectors.dtype
    if len(vectors.shape) != 2 or not 0 < width <= _MOST_DIMENSIONS or type.kind not in "fiu":
        raise TextError(f"its vectors are {type} of shape {vectors.shape}")
    if ids.shape != (rows,) or ids.dtype.kind not in "Uiu" or ids.dtype.itemsize > 4 * _LONGEST_ID:
        raise TextError(f"its ids are {ids.dtype} of shape {ids.shape}")
    text = ""
    if "metadata.npy" in names:
        metadata = _Array(stack.enter_context(archive.open("metadata.npy")))
        is_text = metadata.shape == () and metadata.dtype.kind == "U"
        if is_text and metadata.dtype.itemsize <= 4 * _LONGEST_METADATA:
            text = str(metadata.read(1)[0])
    return VectorFile(path, _made(text.encode("utf-8", "replace")), _npz_blocks(vectors, ids, rows))


def _npz_blocks(vectors: _Array, ids: _Array, rows: int) -> Iterator[Block]:
    for start in range(0, rows, _ROWS):
        count = min(_ROWS, rows - start)
        yield Block([str(id) for id in ids.read(count).tolist()], list(vectors.read(count)))


class _Array:
    """An array in an archive, read from its beginning without a pickle."""

    def __init__(self, file: Any) -> None:
        self._file = file
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise TextError("an array is of an unknown version of NumPy's format")
        self.shape, is_fortran, self.dtype = read(file)
        if self.dtype.hasobject or (is_fortran and len(self.shape) > 1):
            raise TextError("an array holds objects, or lies column by column; save it again")

    def read(self, rows: int) -> Vectors:
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        size = rows * width * self.dtype.itemsize
        data = self._file.read(size)
        if len(data) != size:
            raise TextError("an array ends too early")
        return np.frombuffer(data, self.dtype).reshape(rows, *self.shape[1:])


def _made(text: bytes) -> dict[str, object]:
    try:
        made = json.loads(text) if 0 < len(text) <= _LONGEST_METADATA else {}
    except (ValueError, RecursionError):
        made = {}
    return made if isinstance(made, dict) else {}
