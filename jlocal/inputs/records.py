"""What a file holds: one text, the pages of a PDF, or the records of a JSON or CSV file."""

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

# The delimiters that a table may have, by the ending of its file, the likeliest first.
_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
_JSON = (".jsonl", ".ndjson", ".json")

_SPACE = re.compile(r"[ \t\n\r]*")
# A quotation mark that is never closed takes all that follows with it. Reading goes on behind its
# line, until this many times the lines of the file were read in vain.
_READ_IN_VAIN = 4
_SHOWN_NAMES = 20


@dataclass(frozen=True)
class Record:
    """A text that is found as a whole.

    Attributes:
        number: its position in the file, from 0.
        line: its first line in the file, from 1; of a page, in its own text.
        text: the text.
        whole: whether the text is the file's own, so that lines can be counted in it.

    """

    number: int
    line: int
    text: str
    whole: bool = False


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be taken in.

    Attributes:
        line: its first line in the file, from 1.
        reason: why.

    """

    line: int
    reason: str


class _BadRecordError(Exception):
    """What is wrong with one record."""


def kind_of(path: Path, fields: Sequence[str]) -> str:
    """Tell how a file is read: the same characters give other records in another kind."""
    suffix = path.suffix.lower()
    return suffix if fields and has_records(suffix) else formats.kind_of(path)


def has_records(kind: str) -> bool:
    """Whether files of a kind have records, of which some may be bad."""
    return kind in _JSON or kind in _DELIMITERS


def records_of(path: Path, text: str, fields: Sequence[str]) -> Iterator[Record | BadRecord]:
    """Read the records of a file.

    Args:
        path: its ending tells JSON, JSON lines, CSV and PDF.
        text: what the file holds, as `documents.read_file` gives it.
        fields: names of fields or columns, whose texts are joined by line breaks; none takes any
            file as one text.

    Raises:
        TextError: no record can be found in the file.

    """
    kind = kind_of(path, fields)
    if kind == ".json":
        yield from _numbered(_json(text), fields)
    elif kind in _JSON:
        yield from _numbered(_json_lines(text), fields)
    elif kind in _DELIMITERS:
        yield from _numbered(_table(text, _DELIMITERS[kind], fields), fields)
    elif kind == "pdf":
        for number, page in enumerate(text.split(formats.PAGE_BREAK)):
            yield Record(number, 1, page)
    else:
        yield Record(0, 1, text, whole=True)


# What a reader finds at a line: the fields of a record, or what is wrong with it.
_Found = tuple[int, "Mapping[str, object] | _BadRecordError"]


def _numbered(found: Iterator[_Found], fields: Sequence[str]) -> Iterator[Record | BadRecord]:
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
        if field in getattr(row, "twice", ()):
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
    shown = ", ".join(map(str, names[:_SHOWN_NAMES]))
    return f"{shown}, …" if len(names) > _SHOWN_NAMES else shown


# JSON


class _Row(dict[str, object]):
    """A JSON object, with the names that it has more than once."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs) if len(self) < len(pairs) else Counter[str]()
        self.twice = {name for name, count in counts.items() if count > 1}


_DECODER = json.JSONDecoder(object_pairs_hook=_Row)


def _json_lines(text: str) -> Iterator[_Found]:
    for line, source in enumerate(text.split("\n"), start=1):
        if source.strip():
            yield line, _object(source)


def _object(source: str) -> Mapping[str, object] | _BadRecordError:
    try:
        value, end = _value(source, _after_space(source, 0))
    except _BadRecordError as error:
        return error
    if _after_space(source, end) < len(source):
        return _BadRecordError("is not JSON: something follows the object")
    return value if isinstance(value, _Row) else _BadRecordError("is not a JSON object")


def _value(text: str, start: int) -> tuple[Any, int]:
    """Read one value from a place in a text; return it and the place behind it."""
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
        raise _BadRecordError(f"is not JSON: {reason}") from None
    except ValueError:
        raise _BadRecordError("has a number of too many digits") from None
    except RecursionError:
        raise _BadRecordError("is nested too deeply") from None


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _json(text: str) -> Iterator[_Found]:
    """Read an array of objects, one object, or JSON lines that go by another name."""
    start = _after_space(text, 0)
    if text[start : start + 1] == "[":
        yield from _array(text, start + 1)
        return
    if text[start : start + 1] != "{":
        raise TextError("is neither a JSON array of objects nor a JSON object")
    try:
        value, end = _value(text, start)
    except _BadRecordError:
        end = -1
    if end >= 0 and _after_space(text, end) == len(text):
        yield 1 + text.count("\n", 0, start), value
    else:
        yield from _json_lines(text)


def _array(text: str, place: int) -> Iterator[_Found]:
    line = 1 + text.count("\n", 0, place)
    counted = place
    place = _after_space(text, place)
    expects_more = text[place : place + 1] != "]"
    while expects_more:
        line += text.count("\n", counted, place)
        counted = place
        try:
            value, place = _value(text, place)
        except _BadRecordError as error:
            yield line, _BadRecordError(f"{error}; what follows in the file is not read")
            return
        is_object = isinstance(value, _Row)
        yield line, value if is_object else _BadRecordError("is not a JSON object")
        place = _after_space(text, place)
        expects_more = text[place : place + 1] == ","
        if expects_more:
            place = _after_space(text, place + 1)
        elif text[place : place + 1] != "]":
            line += text.count("\n", counted, place)
            reason = "is not JSON: a comma or the end of the array is missing"
            yield line, _BadRecordError(f"{reason}; what follows in the file is not read")
            return
    end = place + 1
    if _after_space(text, end) < len(text):
        line += text.count("\n", counted, end)
        yield line, _BadRecordError("is not JSON: something follows the array, and is not read")


# CSV


def _table(text: str, delimiters: str, fields: Sequence[str]) -> Iterator[_Found]:
    # A field may be as long as its file, of which the size is bounded.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    lines = io.StringIO(text, newline="").readlines()
    header = _header(lines, delimiters, fields)
    if header is None:
        return
    delimiter, names, start = header
    read_in_vain = 0
    while start < len(lines):
        reader = csv.reader(_from(lines, start), delimiter=delimiter, strict=True)
        line = start
        try:
            for row in reader:
                if row:
                    yield line + 1, _cells(names, row, fields, is_strict=read_in_vain > 0)
                line = start + reader.line_num
            return
        except csv.Error as error:
            read_in_vain += start + reader.line_num - line
            is_last = read_in_vain > _READ_IN_VAIN * len(lines)
            more = "; this is the case too often, and what follows is not read" if is_last else ""
            yield line + 1, _BadRecordError(f"is not CSV: {error}{more}")
            if is_last:
                return
            # Its quotation marks may have taken the next records with it.
            start = line + 1


def _from(lines: Sequence[str], start: int) -> Iterator[str]:
    return map(lines.__getitem__, range(start, len(lines)))


def _header(
    lines: Sequence[str], delimiters: str, fields: Sequence[str]
) -> tuple[str, list[str], int] | None:
    """Find the delimiter under which the header has the fields.

    Returns it with the names of the columns and the number of lines before the first record.
    """
    start = 0
    if said := re.fullmatch(r"sep=(.)[\r\n]*", lines[0] if lines else ""):
        delimiters, start = said[1], 1  # as Excel tells it
    headers = []
    for delimiter in delimiters:
        reader = csv.reader(_from(lines, start), delimiter=delimiter, strict=True)
        try:
            names = next((row for row in reader if row), None)
        except csv.Error:
            continue
        if names is None:
            return None
        headers.append((delimiter, names, start + reader.line_num))
    if not headers:
        raise TextError("its header is not CSV")
    # The first with all fields; where none has them, the one to be named in the error.
    found = next((item for item in headers if set(fields) <= set(item[1])), None)
    found = found or max(headers, key=lambda item: len(item[1]))
    if missing := [field for field in fields if field not in found[1]]:
        raise TextError(f"has no column {missing[0]!r}; it has: {_names(found[1])}")
    for field in fields:
        if found[1].count(field) > 1:
            raise TextError(f"two columns have one name, {field!r}")
    return found


def _cells(
    names: Sequence[str], row: Sequence[str], fields: Sequence[str], *, is_strict: bool
) -> Mapping[str, object] | _BadRecordError:
    """Name the cells of a row; strictly, it must have all of them."""
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
