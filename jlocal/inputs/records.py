"""Splitting a file into records: one text, the pages of a PDF, or the records of JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jlocal.errors import TextError
from jlocal.inputs import formats

# The possible delimiters of a table, by the ending of its file, the likeliest first.
_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
_JSON = (".jsonl", ".ndjson", ".json")

_SPACE = re.compile(r"[ \t\n\r]*")
# An unclosed quotation mark swallows the rest of the file. Reading restarts after its line, until
# this many times the lines of the file were reread.
_MAX_REREADS = 4
_MAX_NAMES = 20


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        number: index in the file, from 0.
        line: its first line in the file, from 1; for a page, in the page's text.
        text: the text.
        whole: whether the text is that of the whole file, so that its lines are the file's lines.

    """

    number: int
    line: int
    text: str
    whole: bool = False


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be read.

    Attributes:
        line: its first line in the file, from 1.
        reason: the reason.

    """

    line: int
    reason: str


class _BadRecordError(Exception):
    """The error of one record."""


def record_format(path: Path, fields: Sequence[str]) -> str:
    """Return the format by which a file is split into records."""
    suffix = path.suffix.lower()
    return suffix if fields and has_records(suffix) else formats.reader_of(path)


def has_records(kind: str) -> bool:
    """Return whether files of a format have records, some of which may be bad."""
    return kind in _JSON or kind in _DELIMITERS


def records_of(path: Path, text: str, fields: Sequence[str]) -> Iterator[Record | BadRecord]:
    """Read the records of a file.

    Args:
        path: the file, whose ending is that of JSON, JSON lines, CSV or PDF.
        text: the text of the file, from `documents.read_file`.
        fields: names of the fields or columns whose texts are joined by line breaks; without
            fields, a file that is not a PDF is one record.

    Raises:
        TextError: the file has no records.

    """
    kind = record_format(path, fields)
    if kind == ".json":
        yield from _numbered(_json_objects(text), fields)
    elif kind in _JSON:
        yield from _numbered(_json_lines(text), fields)
    elif kind in _DELIMITERS:
        yield from _numbered(_csv_rows(text, _DELIMITERS[kind], fields), fields)
    elif kind == "pdf":
        for number, page in enumerate(text.split(formats.PAGE_BREAK)):
            yield Record(number, 1, page)
    else:
        yield Record(0, 1, text, whole=True)


# A line number, and the fields of the record there or its error.
_Entry = tuple[int, "Mapping[str, object] | _BadRecordError"]


def _numbered(found: Iterator[_Entry], fields: Sequence[str]) -> Iterator[Record | BadRecord]:
    for number, (line, row) in enumerate(found):
        try:
            if isinstance(row, _BadRecordError):
                raise row
            yield Record(number, line, _join(row, fields))
        except _BadRecordError as error:
            yield BadRecord(line, str(error))


def _join(row: Mapping[str, object], fields: Sequence[str]) -> str:
    texts = []
    for field in fields:
        if field not in row:
            raise _BadRecordError(f"has no field {field!r}; it has: {_names(list(row))}")
        if field in getattr(row, "duplicates", ()):
            raise _BadRecordError(f"has two fields of the name {field!r}")
        value = row[field]
        if value is not None:
            texts.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    joined = "\n".join(texts)
    try:
        joined.encode("utf-8")
    except UnicodeEncodeError as error:
        is_byte = "\udc80" <= joined[error.start] <= "\udcff"
        reason = "is not UTF-8 text" if is_byte else "has a lone surrogate"
        raise _BadRecordError(reason) from None
    return joined


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:_MAX_NAMES]))
    return f"{shown}, …" if len(names) > _MAX_NAMES else shown


# JSON


class JsonObject(dict[str, object]):
    """A JSON object, with its duplicate names."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs) if len(self) < len(pairs) else Counter[str]()
        self.duplicates = {name for name, count in counts.items() if count > 1}


_DECODER = json.JSONDecoder(object_pairs_hook=JsonObject)


def _json_lines(text: str) -> Iterator[_Entry]:
    for line, source in enumerate(text.split("\n"), start=1):
        if source.strip():
            yield line, _object(source)


def _object(source: str) -> Mapping[str, object] | _BadRecordError:
    try:
        value, end = _value(source, _skip_space(source, 0))
    except _BadRecordError as error:
        return error
    if _skip_space(source, end) < len(source):
        return _BadRecordError("is not JSON: something follows the object")
    return value if isinstance(value, JsonObject) else _BadRecordError("is not a JSON object")


def _value(text: str, start: int) -> tuple[Any, int]:
    """Parse one value at a position; return it and the position after it."""
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
        raise _BadRecordError(f"is not JSON: {reason}") from None
    except ValueError:
        raise _BadRecordError("has a number of too many digits") from None
    except RecursionError:
        raise _BadRecordError("is nested too deeply") from None


def _skip_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


def _json_objects(text: str) -> Iterator[_Entry]:
    """Read an array of objects, one object, or JSON lines in a file named .json."""
    start = _skip_space(text, 0)
    if text[start : start + 1] == "[":
        yield from _json_array(text, start + 1)
        return
    if text[start : start + 1] != "{":
        raise TextError("is neither a JSON array of objects nor a JSON object")
    try:
        value, end = _value(text, start)
    except _BadRecordError:
        end = -1
    if end >= 0 and _skip_space(text, end) == len(text):
        yield 1 + text.count("\n", 0, start), value
    else:
        yield from _json_lines(text)


def _json_array(text: str, position: int) -> Iterator[_Entry]:
    line = 1 + text.count("\n", 0, position)
    counted = position
    position = _skip_space(text, position)
    expects_more = text[position : position + 1] != "]"
    while expects_more:
        line += text.count("\n", counted, position)
        counted = position
        try:
            value, position = _value(text, position)
        except _BadRecordError as error:
            yield line, _BadRecordError(f"{error}; what follows in the file is not read")
            return
        is_object = isinstance(value, JsonObject)
        yield line, value if is_object else _BadRecordError("is not a JSON object")
        position = _skip_space(text, position)
        expects_more = text[position : position + 1] == ","
        if expects_more:
            position = _skip_space(text, position + 1)
        elif text[position : position + 1] != "]":
            line += text.count("\n", counted, position)
            reason = "is not JSON: a comma or the end of the array is missing"
            yield line, _BadRecordError(f"{reason}; what follows in the file is not read")
            return
    end = position + 1
    if _skip_space(text, end) < len(text):
        line += text.count("\n", counted, end)
        yield line, _BadRecordError("is not JSON: something follows the array, and is not read")


# CSV


def _csv_rows(text: str, delimiters: str, fields: Sequence[str]) -> Iterator[_Entry]:
    # A field may be as long as the file, whose size is limited.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    lines = io.StringIO(text, newline="").readlines()
    header = _header(lines, delimiters, fields)
    if header is None:
        return
    delimiter, names, start = header
    read_in_vain = 0
    while start < len(lines):
        reader = csv.reader(_lines_from(lines, start), delimiter=delimiter, strict=True)
        line = start
        try:
            for row in reader:
                if row:
                    yield line + 1, _cells(names, row, fields, is_strict=read_in_vain > 0)
                line = start + reader.line_num
            return
        except csv.Error as error:
            read_in_vain += start + reader.line_num - line
            is_last = read_in_vain > _MAX_REREADS * len(lines)
            more = "; this is the case too often, and what follows is not read" if is_last else ""
            yield line + 1, _BadRecordError(f"is not CSV: {error}{more}")
            if is_last:
                return
            # Its quotation marks may have swallowed the next records.
            start = line + 1


def _lines_from(lines: Sequence[str], start: int) -> Iterator[str]:
    return map(lines.__getitem__, range(start, len(lines)))


def _header(
    lines: Sequence[str], delimiters: str, fields: Sequence[str]
) -> tuple[str, list[str], int] | None:
    """Find the delimiter that gives a header with the fields.

    Returns it with the names of the columns and the number of lines before the first record.
    """
    start = 0
    if separator := re.fullmatch(r"sep=(.)[\r\n]*", lines[0] if lines else ""):
        delimiters, start = separator[1], 1  # as Excel tells it
    headers = []
    for delimiter in delimiters:
        reader = csv.reader(_lines_from(lines, start), delimiter=delimiter, strict=True)
        try:
            names = next((row for row in reader if row), None)
        except csv.Error:
            continue
        if names is None:
            return None
        headers.append((delimiter, names, start + reader.line_num))
    if not headers:
        raise TextError("its header is not CSV")
    # The first header with all fields, or else the one with the most columns, for the error.
    header = next((item for item in headers if set(fields) <= set(item[1])), None)
    header = header or max(headers, key=lambda item: len(item[1]))
    if missing := [field for field in fields if field not in header[1]]:
        raise TextError(f"has no column {missing[0]!r}; it has: {_names(header[1])}")
    for field in fields:
        if header[1].count(field) > 1:
            raise TextError(f"two columns have one name, {field!r}")
    return header


def _cells(
    names: Sequence[str], row: Sequence[str], fields: Sequence[str], *, is_strict: bool
) -> Mapping[str, object] | _BadRecordError:
    """Return the cells of a row by name; a strict check requires all of them."""
    noun = "cell" if len(row) == 1 else "cells"
    count = f"has {len(row):,} {noun}, and the header has {len(names):,}"
    if any(map(str.strip, row[len(names) :])):
        return _BadRecordError(f"{count}; a text that holds the delimiter needs quotation marks")
    cells = dict(zip(names, row, strict=False))
    if not cells.keys() >= set(fields) or (is_strict and len(row) < len(names)):
        return _BadRecordError(count)
    if any("\0" in cells[field] for field in fields):
        return _BadRecordError("is not text: it contains NUL characters")
    return cells
