"""Corpora: texts with ids in Parquet files, JSON lines or lines of text, read shard by shard.

They are on this machine, or on any file system that pyarrow supports, such as s3://bucket/folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jlocal import extras
from jlocal.errors import ArgumentError, TextError
from jlocal.files import open_regular
from jlocal.inputs.documents import Document, Unreadable
from jlocal.inputs.records import JsonObject
from jlocal.inputs.walk import find_files

Kind = Literal["parquet", "jsonl", "lines"]
_KINDS: dict[str, Kind] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "lines",
    ".text": "lines",
    "": "lines",
}
_KNOWN = ".parquet, .jsonl, .ndjson and .txt"
_BLOCK, _LONGEST_LINE, _BATCH = 8 << 20, 64 << 20, 1024
_LONGEST_ID = 1024
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Fields:
    """The fields of JSON lines, or columns of Parquet files.

    Attributes:
        id: name of the field with the id; None means "id" if a record has it, else `FILE:LINE`.
        text: name of the field with the text.

    """

    id: str | None = None
    text: str = "text"


@dataclass(frozen=True)
class CorpusFile:
    """A file of a corpus.

    Attributes:
        name: relative to the folder of the corpus; ids of lines begin with it.
        path: in its file system.
        size: in bytes.
        changed: time of the last change, in nanoseconds since 1970; 0 if it is not known.
        kind: how it is read.

    """

    name: str
    path: str
    size: int
    changed: int
    kind: Kind


@dataclass(frozen=True)
class Shard:
    """Neighbouring records of a file.

    Attributes:
        file: the file.
        first: number of its first row or line, from 0.
        rows: how many there are.
        start: in a file of lines, position of the first byte.
        size: in a file of lines, number of bytes.

    """

    file: CorpusFile
    first: int
    rows: int
    start: int = 0
    size: int = 0


def absolute(path: str) -> str:
    """Return a path as an absolute one, and a URI unchanged."""
    return path if "://" in path else Path(path).expanduser().absolute().as_posix()


def file_system(location: str) -> tuple[Any, str]:
    """Return the pyarrow file system of a path or URI, and the path in it.

    Raises:
        ArgumentError: pyarrow knows no such file system, or the path is not UTF-8.
        ExtraError: pyarrow is not installed.

    """
    _check_utf8(location)
    with extras.importing("parquet", "a corpus needs"):
        from pyarrow import fs
    if "://" not in location:
        return fs.LocalFileSystem(), absolute(location)
    try:
        system, path = fs.FileSystem.from_uri(location)
    except (ValueError, OSError) as error:
        raise ArgumentError(f"{location}: {_reason(error)}", argument="location") from error
    return system, path


def _check_utf8(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(
            f"{name}: the name is not UTF-8, which pyarrow needs; rename it", argument="location"
        ) from error


def corpus_files(location: str) -> list[CorpusFile]:
    """List a file, or the files below a folder, sorted by name; hidden files are left out.

    On this machine, links are followed: each folder is entered once, and each file is listed once.

    Raises:
        ArgumentError: there is no such file, no file in the folder, or one that cannot be read, is
            of another format, or has a name that is not UTF-8.
        ExtraError: pyarrow is not installed.

    """
    system, path = file_system(location)
    try:
        found = _local_files(path) if system.type_name == "local" else _listed(system, path)
        files = sorted(found, key=lambda file: file.path)
    except FileNotFoundError as error:
        raise ArgumentError(f"{location}: no such file or folder", argument="location") from error
    except OSError as error:
        name = location if error.filename is None else error.filename
        raise ArgumentError(f"{name}: {_reason(error)}", argument="location") from error
    if not files:
        raise ArgumentError(
            f"{location}: there is no file in it; {_KNOWN} are read", argument="location"
        )
    return files


def _local_files(path: str) -> Iterator[CorpusFile]:
    """List files of this machine; pyarrow would follow a loop of links for ever."""
    base = Path(path) if Path(path).is_dir() else Path(path).parent
    for found in find_files([path]):
        if isinstance(found, Unreadable):
            if found.is_known:  # a folder without a file
                continue
            raise ArgumentError(f"{found.id}: {found.reason}", argument="location")
        name = found.relative_to(base).as_posix()
        _check_utf8(name)
        if _is_hidden(name) and found != Path(path):
            continue
        with open_regular(found) as file:
            status = os.fstat(file.fileno())
        yield CorpusFile(name, found.as_posix(), status.st_size, status.st_mtime_ns, _kind(name))


def _listed(system: Any, path: str) -> Iterator[CorpusFile]:
    """List files of any file system."""
    from pyarrow import fs

    (info,) = system.get_file_info([path])
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(path)
    base, infos = path.rpartition("/")[0], [info]
    if info.type == fs.FileType.Directory:
        base, infos = path, system.get_file_info(fs.FileSelector(path, recursive=True))
    for item in infos:
        name = item.path[len(base) :].lstrip("/")
        if item.is_file and (item is info or not _is_hidden(name)):
            yield CorpusFile(name, item.path, item.size or 0, item.mtime_ns or 0, _kind(name))


def _is_hidden(name: str) -> bool:
    return any(part[0] in "._" for part in name.split("/"))


def _kind(name: str) -> Kind:
    ending = Path(name).suffix.lower()
    if ending not in _KINDS:
        raise ArgumentError(
            f"{name}: a corpus has files of {_KNOWN}; convert this one first", argument="location"
        )
    return _KINDS[ending]


def shards(location: str, files: Sequence[CorpusFile], rows: int) -> Iterator[Shard]:
    """Divide files into shards; files of lines are read once for this, Parquet files are not.

    Args:
        location: of the corpus.
        files: of `corpus_files`.
        rows: the maximum number of rows in a shard.

    Raises:
        TextError: a file cannot be read.

    """
    system, _ = file_system(location)
    for file in files:
        try:
            if file.kind == "parquet":
                yield from _row_shards(system, file, rows)
            else:
                yield from _line_shards(system, file, rows)
        except (OSError, ValueError) as error:
            raise TextError(f"{file.name}: {_reason(error)}") from error


def _row_shards(system: Any, file: CorpusFile, rows: int) -> Iterator[Shard]:
    import pyarrow.parquet

    total = pyarrow.parquet.read_metadata(file.path, filesystem=system).num_rows
    for first in range(0, total, rows):
        yield Shard(file, first, min(rows, total - first))


def _line_shards(
    system: Any, file: CorpusFile, rows: int, block_size: int = _BLOCK, least: int = 64 << 20
) -> Iterator[Shard]:
    """Cut a file into shards of `rows` lines, or fewer once a shard has `least` bytes."""
    position = start = first = count = 0
    last = b"\n"
    with system.open_input_file(file.path) as source:
        while block := source.read(block_size):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
            used = 0
            while len(ends) - used >= rows - count:
                used += rows - count
                end = position + int(ends[used - 1])
                yield Shard(file, first, rows, start, end - start)
                first, start, count = first + rows, end, 0
            count += len(ends) - used
            position, last = position + len(block), block[-1:]
            if count and position - start >= least and len(ends) > used:
                end = position - len(block) + int(ends[-1])
                yield Shard(file, first, count, start, end - start)
                first, start, count = first + count, end, 0
    count += last != b"\n"
    if count:
        yield Shard(file, first, count, start, position - start)


def read_shard(location: str, shard: Shard, fields: Fields) -> Iterator[Document | Unreadable]:
    """Read the records of a shard, one after the other; a record without a text has its reason.

    Blank lines of JSON lines are no records.

    Args:
        location: of the corpus.
        shard: of it.
        fields: where ids and texts are.

    Raises:
        ArgumentError: a Parquet file has no such column, or two.
        TextError: the file cannot be read.

    """
    system, _ = file_system(location)
    read = {"parquet": _read_rows, "jsonl": _read_json, "lines": _read_text}[shard.file.kind]
    try:
        yield from read(system, shard, fields)
    except (OSError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise TextError(f"{shard.file.name}: {_reason(error)}") from error


def _read_rows(system: Any, shard: Shard, fields: Fields) -> Iterator[Document | Unreadable]:
    import pyarrow.parquet

    with system.open_input_file(shard.file.path) as source:
        table = pyarrow.parquet.ParquetFile(source)
        names = table.schema_arrow.names
        id = fields.id or ("id" if "id" in names else None)
        columns = [name for name in (id, fields.text) if name is not None]
        for name in columns:
            if name not in names:
                raise ArgumentError(
                    f"{shard.file.name} has no column {name!r}; it has: {', '.join(names)[:500]}",
                    argument="fields",
                )
            if names.count(name) > 1:
                raise ArgumentError(
                    f"{shard.file.name} has two columns of the name {name!r}; rename one",
                    argument="fields",
                )
        groups, skipped = _row_groups(table.metadata, shard)
        number, left = shard.first - skipped, shard.rows
        for batch in table.iter_batches(_BATCH, row_groups=groups, columns=columns):
            for row in batch.to_pylist():
                if number >= shard.first and left:
                    yield _record(f"{shard.file.name}:{number + 1}", row, fields, id)
                    left -= 1
                number += 1
            if not left:
                return


def _row_groups(metadata: Any, shard: Shard) -> tuple[list[int], int]:
    """Return the row groups of a shard, and how many rows of the first are not in it."""
    groups: list[int] = []
    skipped = first = 0
    for group in range(metadata.num_row_groups):
        after = first + metadata.row_group(group).num_rows
        if first < shard.first + shard.rows and after > shard.first:
            skipped = skipped if groups else shard.first - first
            groups.append(group)
        first = after
    return groups, skipped


def _read_json(system: Any, shard: Shard, fields: Fields) -> Iterator[Document | Unreadable]:
    for place, line in _read_lines(system, shard):
        if isinstance(line, TextError):
            yield Unreadable(place, line.reason)
        elif line.strip():
            try:
                row = json.loads(line, object_pairs_hook=JsonObject)
            except (ValueError, RecursionError):
                yield Unreadable(place, "is not JSON")
                continue
            if not isinstance(row, JsonObject):
                yield Unreadable(place, "is not a JSON object")
                continue
            id = fields.id or ("id" if "id" in row else None)
            twice = [name for name in (id, fields.text) if name in row.duplicates]
            if twice:
                yield Unreadable(place, f"has two fields of the name {twice[0]!r}")
            else:
                yield _record(place, row, fields, id)


def _read_text(system: Any, shard: Shard, fields: Fields) -> Iterator[Document | Unreadable]:
    for place, line in _read_lines(system, shard):
        row = {"text": line}
        yield (
            _record(place, row, Fields(), None)
            if isinstance(line, str)
            else Unreadable(place, line.reason)
        )


def _record(
    place: str, row: Mapping[str, object], fields: Fields, id: str | None
) -> Document | Unreadable:
    name: object = place if id is None else row.get(id)
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str) or not _is_id(name):
        return Unreadable(place, f"has no id in the field {id!r}: a text or a whole number")
    if fields.text not in row:
        known = ", ".join(map(str, row))[:200]
        return Unreadable(name, f"has no field {fields.text!r}; it has: {known}")
    return checked_text(name, row[fields.text])


def checked_text(id: str, text: object) -> Document | Unreadable:
    """Return a text with its id, or the reason why it cannot be embedded."""
    if not isinstance(text, str):
        kind = "null" if text is None else type(text).__name__
        return Unreadable(id, f"its text is of type {kind}")
    return Document(id, text) if text.strip() else Unreadable(id, "is empty")


def _is_id(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(name) <= _LONGEST_ID


def _read_lines(system: Any, shard: Shard) -> Iterator[tuple[str, str | TextError]]:
    """Yield the place of each line, and its text or the reason why it has none."""
    with system.open_input_file(shard.file.path) as source:
        source.seek(shard.start)
        lines = _split(source, shard.size)
        for number, line in enumerate(lines, shard.first):
            place = f"{shard.file.name}:{number + 1}"
            if line is None:
                yield place, TextError(f"a line larger than {_LONGEST_LINE >> 20} MiB; split it")
                continue
            data = line.removesuffix(b"\n").removesuffix(b"\r")
            try:
                yield place, (data.removeprefix(_MARK) if number == 0 else data).decode()
            except UnicodeDecodeError:
                yield place, TextError("is not UTF-8 text")


def _split(
    source: Any, size: int, block_size: int = _BLOCK, longest: int = _LONGEST_LINE
) -> Iterator[bytes | None]:
    """Yield the lines in the next `size` bytes; None for one that is too long."""
    rest, is_long = b"", False
    while size and (block := source.read(min(block_size, size))):
        size -= len(block)
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield None if is_long else line
            is_long = False
        if len(rest) > longest:
            rest, is_long = b"", True
    if rest or is_long:
        yield None if is_long else rest


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
