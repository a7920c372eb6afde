"""Vectors to files: npy, npz and JSON lines, streamed, complete or not there at all."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from jlocal.errors import OutputError
from jlocal.files import write_aside
from jlocal.vectors import Vectors

FORMATS = ("npy", "npz", "jsonl")


class Writer(Protocol):
    """Takes vectors one at a time."""

    def add(self, id: str, vector: Vectors) -> None:
        """Write one vector."""


def format_of(path: Path) -> str:
    """Tell the format from a file's ending.

    Raises:
        OutputError: the ending is not known.

    """
    suffix = path.suffix.lower().removeprefix(".")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file")
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise OutputError(f"{path}: its ending names no format; add one with -f ({known})")
    return suffix


@contextmanager
def open_writer(path: Path, format: str, metadata: Mapping[str, object]) -> Iterator[Writer]:
    """Open a file that appears under its name when the block ends well.

    Args:
        path: the file.
        format: "npy" (an array (n, d)), "npz" (arrays `embeddings` (n, d) and `ids` (n,), and
            `metadata`, a string of JSON) or "jsonl".
        metadata: how the vectors were made, for npz.

    Raises:
        OutputError: the file cannot be written.

    """
    with write_aside(path) as file:
        if format == "jsonl":
            yield JsonLines(file)
        elif format == "npy":
            rows = _Npy(file)
            yield rows
            rows.finish()
        else:
            # A zip entry cannot be changed once written, and the header must name the row count.
            with tempfile.TemporaryFile(dir=path.parent) as aside:
                archive = _Npz(aside)
                yield archive
                archive.finish(file, metadata)


class JsonLines:
    """One `{"id": …, "embedding": […]}` a line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, id: str, vector: Vectors) -> None:
        """Write one line; nine digits give every float32 back exactly."""
        number = "%.9g" if vector.dtype.kind == "f" else "%d"
        numbers = ", ".join([number] * len(vector)) % tuple(vector.tolist())
        line = f'{{"id": {json.dumps(id)}, "embedding": [{numbers}]}}\n'
        self._file.write(line.encode("ascii"))


class _Npy:
    """An .npy file whose row count is filled in at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._count = 0
        self._row: Vectors = np.empty(0, np.float32)

    def add(self, id: str, vector: Vectors) -> None:
        del id
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
    def __init__(self, aside: IO[bytes]) -> None:
        self._aside = aside
        self._rows = _Npy(aside)
        self._ids: list[str] = []

    def add(self, id: str, vector: Vectors) -> None:
        self._rows.add(id, vector)
        self._ids.append(id)

    def finish(self, file: IO[bytes], metadata: Mapping[str, object]) -> None:
        self._rows.finish()
        self._aside.seek(0)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            with archive.open("embeddings.npy", "w", force_zip64=True) as entry:
                shutil.copyfileobj(self._aside, entry, 1 << 20)
            for name, array in (
                ("ids", np.array(self._ids, dtype=np.str_)),
                ("metadata", np.array(json.dumps(dict(metadata), ensure_ascii=False))),
            ):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
