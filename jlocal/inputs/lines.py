"""A file of lines, each of which is a document; read as a stream, in one encoding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jlocal.errors import TextError
from jlocal.files import open_regular
from jlocal.inputs.detection import fits, guess
from jlocal.inputs.documents import Document, Unreadable
from jlocal.inputs.encodings import ENCODING, decode, is_wide, label, of_mark
from jlocal.terms import Message

_LARGEST = 64 << 20
# Where a longer line ends is looked for so far.
_LONGEST = 1 << 30
# How much is looked at to tell the encoding.
_SAMPLE = 1 << 20

# A line as it is in the file, or why it is none.
_Raw = bytes | TextError
# A line, or why it is none, and the encoding where it is neither UTF-8 nor told by a mark.
_Line = tuple[str | TextError, str]


class _EndlessError(TextError):
    """A line whose end was not found, as of /dev/zero; no other line is read after it."""


def read_lines(
    file: BinaryIO, name: str, *, named: bool = False, encoding: str | None = None
) -> Iterator[Document | Unreadable]:
    """Read one document a line; an empty line counts.

    All lines are in one encoding: in UTF-8 if the first line that is not ASCII is.

    Args:
        file: the lines.
        name: of the file, for reports.
        named: make ids `name:number`; otherwise they are line numbers from 1.
        encoding: of text that has no byte order mark and is not UTF-8, as in
            `encodings.decode`; None guesses it, for which it may have to read ahead.

    """
    for number, (line, said) in enumerate(_lines(file, encoding), start=1):
        place = f"{name}:{number}"
        if isinstance(line, TextError):
            yield Unreadable(place, line.reason)
        else:
            yield Document(place if named else str(number), line, encoding=said)


def _lines(file: BinaryIO, encoding: str | None) -> Iterator[_Line]:
    lines = _raw(file)
    first = next(lines, b"")
    if isinstance(first, TextError):
        yield from _streamed(itertools.chain([first], lines), None, encoding)
        return
    mark, marked = of_mark(first)
    if is_wide(marked or encoding or ""):
        yield from _whole(first + file.read(_LARGEST), encoding)
        return
    first = first[len(mark) :]
    ahead: list[_Raw] = []
    if b"\0" in first and not marked and not encoding:
        # It may be UTF-16, where a line break is more than one byte.
        ahead = list(_some(lines))
        data = first + _joined(ahead)
        if is_wide(guess(data) or ""):
            yield from _whole(data + file.read(_LARGEST), None)
            return
    yield from _streamed(itertools.chain([first], ahead, lines), marked or None, encoding)


def _whole(data: bytes, encoding: str | None) -> Iterator[_Line]:
    """Split text in which a line break is more than one byte, so that all is decoded first."""
    try:
        if len(data) > _LARGEST:
            raise TextError(f"in UTF-16 or UTF-32, and larger than {_LARGEST >> 20} MiB; split it")
        decoded = decode(data, encoding)
    except TextError as error:
        yield error, ""
        return
    for line in decoded.text.removesuffix("\n").split("\n"):
        yield line.removesuffix("\r"), decoded.encoding


def _streamed(lines: Iterator[_Raw], settled: str | None, encoding: str | None) -> Iterator[_Line]:
    hint = ""
    while line := next(lines, b""):
        if isinstance(line, TextError):
            yield line, ""
            continue
        # In ASCII there may be Japanese of old mails.
        if settled is None and (not line.isascii() or b"\x1b" in line):
            settled = encoding
            if not line.isascii() and fits(line, "utf-8"):
                settled = "utf-8"
            elif settled is None:
                ahead = list(_some(lines))
                lines = itertools.chain(ahead, lines)
                settled = guess(line + _joined(ahead))
                if settled is None or is_wide(settled):
                    settled, hint = "utf-8", f"; name its encoding with {ENCODING}"
        yield _decoded(line, settled or encoding or "utf-8", hint)


def _decoded(line: bytes, encoding: str, hint: str) -> _Line:
    try:
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode(encoding)
    except UnicodeDecodeError:
        return TextError(Message(f"not {label(encoding)} text{hint}", ENCODING)), ""
    if "\0" in text:
        return TextError("not text: it contains NUL characters"), ""
    return text, "" if encoding == "utf-8" else label(encoding)


def _raw(file: BinaryIO) -> Iterator[_Raw]:
    """Yield lines with their breaks; an error for one that is too long."""
    while line := _line(file):
        yield line
        if isinstance(line, _EndlessError):
            return


def _line(file: BinaryIO) -> _Raw:
    """Read a line with its end; nothing at the end of the file, and an error where it is too long.

    What is left of a long line is passed over in pieces, between which a signal can come.
    """
    line = file.readline(_LARGEST + 1)
    if len(line) <= _LARGEST or line.endswith(b"\n"):
        return line
    passed = 0
    while (piece := file.readline(1 << 20)) and not piece.endswith(b"\n"):
        passed += len(piece)
        if passed > _LONGEST:
            return _EndlessError(f"a line without an end in {_LONGEST >> 30} GiB; not read on")
    return TextError(f"a line larger than {_LARGEST >> 20} MiB; split it")


def _some(lines: Iterator[_Raw]) -> Iterator[_Raw]:
    """Yield so many lines as tell the encoding."""
    size = 0
    for line in lines:
        yield line
        size += len(line) if isinstance(line, bytes) else 0
        if size >= _SAMPLE:
            return


def _joined(lines: list[_Raw]) -> bytes:
    return b"".join(line for line in lines if isinstance(line, bytes))


def count_lines(path: Path) -> int | None:
    """How many documents `read_lines` will find in a file; None if only reading it can tell."""
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
