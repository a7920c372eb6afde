"""Writing vectors to npy, npz, JSON lines, CSV and Parquet files, as a stream and atomically."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Protocol

import numpy as np

from jlocal import extras
from jlocal.errors import OutputError, TextError
from jlocal.outputs.atomic import atomic_write
from jlocal.terms import Argument
from jlocal.vectors import Vectors

FORMATS = ("npy", "npz", "jsonl", "csv", "parquet")

# The source of a vector, by column name; all vectors of a file have the same columns. Strings are
# never None, numbers may be.
Columns = Mapping[str, str | int | None]
_NO_COLUMNS: Columns = MappingProxyType({})

# A cell that a spreadsheet may run as a formula, after characters that it may ignore.
_FORMULA = re.compile(
    r"[\s\x00-\x1f\x7f-\xa0\u200b-\u200f\u2060\ufeff\"']*[=+\-@＝＋－＠]|[\t\r\n]"
)

# Bytes in a row group of a Parquet file, which are buffered and written together.
_ROW_GROUP = 16 << 20


class Writer(Protocol):
    """Takes vectors one at a time."""

    def add(self, id: str, vector: Vectors, columns: Columns = _NO_COLUMNS) -> None:
        """Write one vector (d,), with its id and, if the format has columns, more columns.

        Raises:
            TextError: the format cannot hold the id or a column; the vector is not written.

        """


def format_of(path: Path) -> str:
    """Return the format of a file, by its ending.

    Raises:
        OutputError: the ending is not the name of a format.

    """
    suffix = path.suffix.lower().removeprefix(".")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file", path=path)
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        name = Argument("format")
        raise OutputError(
            f"{path}: its ending names no format; add one with {name} ({known})", name, path=path
        )
    return suffix


@contextmanager
def open_writer(
    path: Path, format: str, metadata: Mapping[str, object], *, safe_cells: bool = False
) -> Iterator[Writer]:
    """Open a file that gets its name when the block ends without an error.

    Args:
        path: the file.
        format: "npy" (an array (n, d)), "npz" (arrays `embeddings` (n, d) and `ids` (n,), and
            `metadata`, a string of JSON), "jsonl" (`JsonLines`), "csv" (`Csv`) or "parquet"
            (columns `id`, others as they are given, and `embedding`, a list of fixed size of
            float, halffloat, int8 or uint8; `jlocal` in the metadata is a string of JSON).
        metadata: how the vectors were made, for npz and parquet.
        safe_cells: for csv, keep spreadsheets from taking a text for a formula; see `Csv`.

    Raises:
        OutputError: the file cannot be written.
        ExtraError: the format needs a package that is not installed.

    """
    with atomic_write(path) as file:
        if format == "jsonl":
            yield JsonLines(file)
        elif format == "csv":
            yield Csv(file, safe_cells=safe_cells)
        elif format == "parquet":
            with _Parquet(file, metadata) as table:
                yield table
        elif format == "npy":
            rows = _Npy(file)
            yield rows
            rows.finish()
        else:
            # A zip entry cannot be changed once written, and its header must hold the row count.
            with (
                tempfile.TemporaryFile(dir=path.parent) as vectors,
                tempfile.TemporaryFile(dir=path.parent) as ids,
            ):
                archive = _Npz(vectors, ids)
                yield archive
                archive.finish(file, metadata)


class JsonLines:
    """One `{"id": …, "embedding": […]}` per line, with other columns between them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, id: str, vector: Vectors, columns: Columns = _NO_COLUMNS) -> None:
        """Write one line; surrogates in names that are not UTF-8 are escaped."""
        before = json.dumps({"id": id, **columns})[:-1]
        self._file.write(f'{before}, "embedding": [{_numbers(vector, ", ")}]}}\n'.encode("ascii"))


class Csv:
    """A line with the names of the columns, and a line for each vector, in UTF-8.

    The columns are `id`, the other columns, and `d0`, `d1`, … with one component each, as pandas
    and spreadsheets expect. Every string is quoted, so that commas, quotes, line breaks and NUL
    are preserved. To keep pandas from converting numbers and "NA", read the file with
    `pd.read_csv(path, dtype={"id": str}, keep_default_na=False)`; then
    `.filter(regex="^d[0-9]+$").to_numpy("float32")` is the array (n, d).

    Spreadsheets run a cell that begins with `=`, `+`, `-` or `@` as a formula, quoted or not, and a
    file name or a text may come from anyone. With `safe_cells`, an apostrophe is put before these
    strings: spreadsheets take it for a mark of text, other programs for a character.
    """

    def __init__(self, file: IO[bytes], *, safe_cells: bool = False) -> None:
        self._file = file
        self._is_empty = True
        self._cell = _safe_cell if safe_cells else _cell

    def add(self, id: str, vector: Vectors, columns: Columns = _NO_COLUMNS) -> None:
        """Write one line.

        Raises:
            TextError: the id or a column is not UTF-8.

        """
        row = {"id": id, **columns}
        _check_utf8(row, "csv")
        if self._is_empty:
            names = [*row, *(f"d{number}" for number in range(len(vector)))]
            self._file.write(f"{','.join(names)}\n".encode())
            self._is_empty = False
        cells = ",".join(map(self._cell, row.values()))
        self._file.write(f"{cells},{_numbers(vector, ',')}\n".encode())


def _cell(value: str | int | None) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return "" if value is None else str(value)


def _safe_cell(value: str | int | None) -> str:
    is_formula = isinstance(value, str) and _FORMULA.match(value)
    return _cell(f"'{value}" if is_formula else value)


def _numbers(vector: Vectors, separator: str) -> str:
    """Format a vector's components; nine digits preserve every float32 exactly."""
    number = "%.9g" if vector.dtype.kind == "f" else "%d"
    return separator.join([number] * len(vector)) % tuple(vector.tolist())


def _check_utf8(row: Columns, format: str) -> None:
    """Refuse strings that are not valid Unicode, such as a name in another encoding."""
    for name, value in row.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise TextError(
                f"its {name} is not UTF-8, which {format} cannot hold; jsonl can"
            ) from None


class _Npy:
    """An .npy file whose row count is filled in at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._count = 0
        self._row: Vectors = np.empty(0, np.float32)

    def add(self, id: str, vector: Vectors, columns: Columns = _NO_COLUMNS) -> None:
        del id, columns
        if self._count == 0:
            self._row = vector
            self._write_header()
        self._file.write(vector.tobytes())
        self._count += 1

    def finish(self) -> None:
        # numpy leaves room in the header for the row count to grow.
        self._file.seek(0)
        self._write_header()
        self._file.seek(0, io.SEEK_END)

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._row.dtype),
            "fortran_order": False,
            "shape": (self._count, len(self._row)),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


class _Npz:
    """An archive of arrays; ids are buffered in a file, since the longest sets their width."""

    def __init__(self, vectors: IO[bytes], ids: IO[bytes]) -> None:
        self._vectors, self._ids = vectors, ids
        self._rows = _Npy(vectors)
        self._count, self._width = 0, 1

    def add(self, id: str, vector: Vectors, columns: Columns = _NO_COLUMNS) -> None:
        self._rows.add(id, vector)
        characters = id.encode("utf-32-le", "surrogatepass")
        self._ids.write(len(characters).to_bytes(8, "little") + characters)
        self._count += 1
        self._width = max(self._width, len(id))

    def finish(self, file: IO[bytes], metadata: Mapping[str, object]) -> None:
        self._rows.finish()
        self._vectors.seek(0)
        self._ids.seek(0)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            with archive.open("embeddings.npy", "w", force_zip64=True) as entry:
                shutil.copyfileobj(self._vectors, entry, 1 << 20)
            # Most of it is padding.
            ids = zipfile.ZipInfo("ids.npy")
            ids.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(ids, "w", force_zip64=True) as entry:
                self._write_ids(entry)
            with archive.open("metadata.npy", "w", force_zip64=True) as entry:
                text = np.array(json.dumps(dict(metadata), ensure_ascii=False))
                np.lib.format.write_array(entry, text, allow_pickle=False)

    def _write_ids(self, entry: IO[bytes]) -> None:
        descr = np.dtype(f"<U{self._width}").str
        header = {"descr": descr, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(entry, header)
        while size := self._ids.read(8):
            characters = self._ids.read(int.from_bytes(size, "little"))
            entry.write(characters.ljust(4 * self._width, b"\0"))


class _Parquet:
    """A Parquet file, whose schema comes from its first row."""

    def __init__(self, file: IO[bytes], metadata: Mapping[str, object]) -> None:
        with extras.importing("parquet", "Parquet files need"):
            import pyarrow
            import pyarrow.parquet
        self._arrow: Any = pyarrow
        self._file, self._metadata = file, metadata
        self._table: Any = None
        self._rows: list[Columns] = []
        self._vectors: list[Vectors] = []
        self._size = 0

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            self._flush()
            if self._table:
                self._table.close()
        elif self._table:
            # Left open, it would be finalised later, and fail on the closed file.
            with suppress(OSError):
                self._table.close()

    def add(self, id: str, vector: Vectors, columns: Columns = _NO_COLUMNS) -> None:
        row = {"id": id, **columns}
        _check_utf8(row, "parquet")
        self._rows.append(row)
        self._vectors.append(vector)
        self._size += vector.nbytes + sum(len(str(value)) for value in row.values())
        if self._size >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        arrow, length = self._arrow, len(self._vectors[0])
        embedding = arrow.FixedSizeListArray.from_arrays(
            arrow.array(np.concatenate(self._vectors)), length
        )
        arrays = {
            name: arrow.array(
                [row[name] for row in self._rows],
                arrow.string() if isinstance(first, str) else arrow.int64(),
            )
            for name, first in self._rows[0].items()
        } | {"embedding": embedding}
        if self._table is None:
            schema = arrow.schema(
                [(name, array.type) for name, array in arrays.items()],
                metadata={"jlocal": json.dumps(dict(self._metadata), ensure_ascii=False)},
            )
            self._table = arrow.parquet.ParquetWriter(
                self._file, schema, use_dictionary=False, compression="zstd"
            )
        batch = arrow.record_batch(list(arrays.values()), schema=self._table.schema)
        self._table.write_batch(batch)
        self._rows, self._vectors, self._size = [], [], 0
