"""Reading files of one document per line, as a stream in one encoding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jlocal.errors import TextError
from jlocal.files import open_regular
from jlocal.inputs.detection import can_decode, guess
from jlocal.inputs.documents import Document, Unreadable
from jlocal.inputs.encodings import ENCODING, byte_order_mark, decode, display_name, is_wide
from jlocal.terms import Message

_MAX_LINE = 64 << 20
# The end of a longer line is searched for within this many bytes.
_MAX_SKIPPED = 1 << 30
# Bytes by which the encoding is detected.
_SAMPLE = 1 << 20

# The bytes of a line, or why it cannot be read.
_RawLine = bytes | TextError
# A line, or why it cannot be read, and its encoding unless that is UTF-8 or named by a mark.
_Line = tuple[str | TextError, str]


class _EndlessError(TextError):
    """A line without an end, as in /dev/zero; reading stops there."""


def read_lines(
    file: BinaryIO, name: str, *, named: bool = False, encoding: str | None = None
) -> Iterator[Document | Unreadable]:
    """Read one document per line; an empty line is a document.

    All lines have the same encoding: UTF-8 if the first non-ASCII line is valid UTF-8.

    Args:
        file: the file.
        name: name of the file, for reports.
        named: make ids `name:number`; otherwise the ids are line numbers from 1.
        encoding: encoding of text without a byte order mark that is not UTF-8, as in
            `encodings.decode`; None detects it, which may need reading ahead.

    """
    for number, (line, line_encoding) in enumerate(_lines(file, encoding), start=1):
        place = f"{name}:{number}"
        if isinstance(line, TextError):
            yield Unreadable(place, line.reason)
        else:
            yield Document(place if named else str(number), line, encoding=line_encoding)


def _lines(file: BinaryIO, encoding: str | None) -> Iterator[_Line]:
    lines = _raw_lines(file)
    first = next(lines, b"")
    if isinstance(first, TextError):
        yield from _decode_stream(itertools.chain([first], lines), None, encoding)
        return
    mark, marked_encoding = byte_order_mark(first)
    if is_wide(marked_encoding or encoding or ""):
        yield from _decode_whole(first + file.read(_MAX_LINE), encoding)
        return
    first = first[len(mark) :]
    ahead: list[_RawLine] = []
    if b"\0" in first and not marked_encoding and not encoding:
        # It may be UTF-16, where a line break takes more than one byte.
        ahead = list(_sample_lines(lines))
        data = first + _join(ahead)
        if is_wide(guess(data) or ""):
            yield from _decode_whole(data + file.read(_MAX_LINE), None)
            return
    yield from _decode_stream(
        itertools.chain([first], ahead, lines), marked_encoding or None, encoding
    )


def _decode_whole(data: bytes, encoding: str | None) -> Iterator[_Line]:
    """Decode the whole text before splitting it: a line break takes more than one byte."""
    try:
        if len(data) > _MAX_LINE:
            raise TextError(f"in UTF-16 or UTF-32, and larger than {_MAX_LINE >> 20} MiB; split it")
        decoded = decode(data, encoding)
    except TextError as error:
        yield error, ""
        return
    for line in decoded.text.removesuffix("\n").split("\n"):
        yield line.removesuffix("\r"), decoded.encoding


def _decode_stream(
    lines: Iterator[_RawLine], detected: str | None, encoding: str | None
) -> Iterator[_Line]:
    hint = ""
    while line := next(lines, b""):
        if isinstance(line, TextError):
            yield line, ""
            continue
        # ASCII with escapes may be ISO-2022-JP, as in old Japanese mails.
        if detected is None and (not line.isascii() or b"\x1b" in line):
            detected = encoding
            if not line.isascii() and can_decode(line, "utf-8"):
                detected = "utf-8"
            elif detected is None:
                ahead = list(_sample_lines(lines))
                lines = itertools.chain(ahead, lines)
                detected = guess(line + _join(ahead))
                if detected is None or is_wide(detected):
                    detected, hint = "utf-8", f"; name its encoding with {ENCODING}"
        yield _decode_line(line, detected or encoding or "utf-8", hint)


def _decode_line(line: bytes, encoding: str, hint: str) -> _Line:
    try:
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode(encoding)
    except UnicodeDecodeError:
        return TextError(Message(f"not {display_name(encoding)} text{hint}", ENCODING)), ""
    if "\0" in text:
        return TextError("not text: it contains NUL characters"), ""
    return text, "" if encoding == "utf-8" else display_name(encoding)


def _raw_lines(file: BinaryIO) -> Iterator[_RawLine]:
    """Yield lines with their line breaks, and an error for each line that is too long."""
    while line := _read_line(file):
        yield line
        if isinstance(line, _EndlessError):
            return


def _read_line(file: BinaryIO) -> _RawLine:
    """Read a line with its line break; b"" at the end of the file, an error if it is too long.

    The rest of a long line is skipped in pieces, so that signals are handled in between.
    """
    line = file.readline(_MAX_LINE + 1)
    if len(line) <= _MAX_LINE or line.endswith(b"\n"):
        return line
    passed = 0
    while (piece := file.readline(1 << 20)) and not piece.endswith(b"\n"):
        passed += len(piece)
        if passed > _MAX_SKIPPED:
            return _EndlessError(f"a line without an end in {_MAX_SKIPPED >> 30} GiB; not read on")
    return TextError(f"a line larger than {_MAX_LINE >> 20} MiB; split it")


def _sample_lines(lines: Iterator[_RawLine]) -> Iterator[_RawLine]:
    """Yield enough lines to detect the encoding."""
    size = 0
    for line in lines:
        yield line
        size += len(line) if isinstance(line, bytes) else 0
        if size >= _SAMPLE:
            return


def _join(lines: list[_RawLine]) -> bytes:
    return b"".join(line for line in lines if isinstance(line, bytes))


def count_lines(path: Path) -> int | None:
    """Return the number of documents in a file of lines; None if it cannot be read twice."""
    try:
        last = b"\n"
        count = 0
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                count += block.count(b"\n")
                last = block[-1:]
    except OSError:
        return None
    return count + (last != b"\n")
