"""What a file holds: one text, the pages of a PDF, or the records of a JSON lines or CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jlocal import extract
from jlocal.errors import TextError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")


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


def kind_of(path: Path, fields: Sequence[str]) -> str:
    """Tell how a file is read: the same characters give other records in another kind."""
    suffix = path.suffix.lower()
    if fields and (suffix in _JSON_LINES or suffix in _DELIMITERS):
        return suffix
    return extract.kind_of(path)


def records_of(path: Path, text: str, fields: Sequence[str]) -> Iterator[Record]:
    """Read the records of a file.

    Args:
        path: its ending tells JSON lines, CSV and PDF.
        text: what the file holds, as `documents.read_file` gives it.
        fields: names of fields or columns, whose texts are joined by line breaks; none takes any
            file as one text.

    Raises:
        TextError: the file is not what its ending says, or a record lacks a field.

    """
    kind = kind_of(path, fields)
    if kind in _JSON_LINES:
        yield from _json_lines(text, fields)
    elif kind in _DELIMITERS:
        yield from _table(text, _DELIMITERS[kind], fields)
    elif kind == "pdf":
        for number, page in enumerate(text.split(extract.PAGE_BREAK)):
            yield Record(number, 1, page)
    else:
        yield Record(0, 1, text, whole=True)


def _json_lines(text: str, fields: Sequence[str]) -> Iterator[Record]:
    number = 0
    for line, source in enumerate(text.split("\n"), start=1):
        if not source.strip():
            continue
        try:
            row = json.loads(source)
        except (ValueError, RecursionError):
            raise TextError(f"line {line} is not JSON") from None
        if not isinstance(row, dict):
            raise TextError(f"line {line} is no JSON object")
        yield Record(number, line, _join(row, fields, line))
        number += 1


def _table(text: str, delimiter: str, fields: Sequence[str]) -> Iterator[Record]:
    # A field may be as long as its file, of which the size is bounded.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for number, row in enumerate(reader):
            yield Record(number, line + 1, _join(row, fields, line + 1))
            line = reader.line_num
    except csv.Error as error:
        raise TextError(f"a record from line {line + 1}: {error}") from None


def _join(row: Mapping[str, object], fields: Sequence[str], line: int) -> str:
    texts = []
    for field in fields:
        if field not in row:
            raise TextError(
                f"line {line} has no field {field!r}; it has: {', '.join(map(str, row))}"
            )
        value = row[field]
        if value is not None:
            texts.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    joined = "\n".join(texts)
    try:
        joined.encode("utf-8")
    except UnicodeEncodeError:
        raise TextError(f"line {line} has a lone surrogate") from None
    return joined
