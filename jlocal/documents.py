"""From files and lines to documents: reading, decoding."""

from __future__ import annotations

import codecs
import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from jlocal.errors import ExtraError, TextError
from jlocal.extract import PAGE_BREAK, kind_of
from jlocal.extract.html import html_text
from jlocal.extract.pdf import read_pdf
from jlocal.files import open_regular, read_regular

_LARGEST_FILE = 64 << 20
# Where a longer line ends is looked for so far.
_LONGEST_LINE = 1 << 30

# What `read_regular` finds, and what to do about it.
_NO_TEXT = {
    errno.EINVAL: "not a regular file; for a pipe use -i",
    errno.EISDIR: "not a regular file; for a pipe use -i",
    errno.EFBIG: f"larger than {_LARGEST_FILE >> 20} MiB; split it",
}

# UTF-32's mark begins with UTF-16's, so it is asked for first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Document:
    """A text and the name that its vector goes by.

    Attributes:
        id: the name.
        text: the text.
        losses: parts of the file that gave no text, or not all of it, and why.

    """

    id: str
    text: str
    losses: tuple[Unreadable, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """An input that gave no text, and why.

    Attributes:
        id: its name.
        reason: why.
        is_known: whether it was looked at: a folder without files, or a file without text.

    """

    id: str
    reason: str
    is_known: bool = field(default=False, compare=False)


def read_file(path: Path) -> Document | Unreadable:
    """Read one file as one document, without its final line breaks.

    Of HTML it is what the page shows; pages of a PDF file are apart by `extract.PAGE_BREAK`, and
    one that cannot be read is empty and among the document's losses.
    """
    try:
        data = read_regular(path, _LARGEST_FILE)
    except (OSError, ValueError) as error:
        reason = _NO_TEXT.get(getattr(error, "errno", 0))
        return Unreadable(str(path), reason or reason_of(error), is_known=reason is not None)
    try:
        return _READERS[kind_of(path)](path, data)
    except TextError as error:
        return Unreadable(str(path), str(error), is_known=True)
    except ExtraError as error:
        return Unreadable(str(path), str(error))


def _plain(path: Path, data: bytes) -> Document:
    return Document(str(path), decode(data).rstrip("\r\n"))


def _html(path: Path, data: bytes) -> Document:
    return Document(str(path), html_text(data))


def _pdf(path: Path, data: bytes) -> Document:
    read = read_pdf(data)
    losses = (
        Unreadable(f"{path} {loss.place}".rstrip(), loss.reason, is_known=True)
        for loss in read.losses
    )
    return Document(str(path), PAGE_BREAK.join(read.pages), tuple(losses))


_READERS = {"": _plain, "html": _html, "pdf": _pdf}


def read_lines(
    file: BinaryIO, name: str, *, named: bool = False
) -> Iterator[Document | Unreadable]:
    """Read one document a line; an empty line counts.

    Args:
        file: UTF-8, or with a byte order mark what the mark says.
        name: of the file, for reports.
        named: make ids `name:number`; otherwise they are line numbers from 1.

    """
    for number, line in enumerate(_lines(file), start=1):
        place = f"{name}:{number}"
        try:
            if isinstance(line, TextError):
                raise line
            text = line if isinstance(line, str) else _text(line, "utf-8")
        except TextError as error:
            yield Unreadable(place, str(error))
        else:
            yield Document(place if named else str(number), text)


class _EndlessError(TextError):
    """A line whose end was not found, as of /dev/zero; no other line is read after it."""


def _lines(file: BinaryIO) -> Iterator[bytes | str | TextError]:
    line, start = _line(file), True
    marks = tuple(mark for mark, encoding in _MARKS if encoding != "utf-8")
    if isinstance(line, bytes) and line.startswith(marks):
        yield from _wide_lines(line + file.read(_LARGEST_FILE + 1))
        return
    while line:
        if isinstance(line, bytes):
            line = line.removeprefix(codecs.BOM_UTF8) if start else line
            yield line.removesuffix(b"\n").removesuffix(b"\r")
        else:
            yield line
            if isinstance(line, _EndlessError):
                return
        line, start = _line(file), False


def _wide_lines(data: bytes) -> Iterator[bytes | str | TextError]:
    """Split text in which a line break is more than one byte, so that all is decoded first."""
    if len(data) > _LARGEST_FILE:
        yield TextError(f"in UTF-16 or UTF-32, and larger than {_LARGEST_FILE >> 20} MiB; split it")
        return
    try:
        text = decode(data)
    except TextError:
        yield data.partition(b"\n")[0]
        return
    yield from (line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))


def _line(file: BinaryIO) -> bytes | TextError:
    """Read a line with its end; nothing at the end of the file, and an error where it is too long.

    What is left of a long line is passed over in pieces, between which a signal can come.
    """
    line = file.readline(_LARGEST_FILE + 1)
    if len(line) <= _LARGEST_FILE or line.endswith(b"\n"):
        return line
    passed = 0
    while (piece := file.readline(1 << 20)) and not piece.endswith(b"\n"):
        passed += len(piece)
        if passed > _LONGEST_LINE:
            return _EndlessError(f"a line without an end in {_LONGEST_LINE >> 30} GiB; not read on")
    return TextError(f"a line larger than {_LARGEST_FILE >> 20} MiB; split it")


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


def decode(data: bytes, declared: str = "utf-8") -> str:
    """Decode a file's bytes.

    Args:
        data: what the file holds.
        declared: the encoding, unless a byte order mark says UTF-8, UTF-16 or UTF-32.

    Raises:
        TextError: the bytes are not text in that encoding.

    """
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", declared)
    )
    return _text(data[len(mark) :], encoding)


def _text(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise TextError(f"not {encoding.upper()} text") from None
    if "\0" in text:
        raise TextError("not text: it contains NUL characters")
    return text


def reason_of(error: OSError | ValueError) -> str:
    """Return the system's own words; a name with a NUL is a ValueError."""
    return getattr(error, "strerror", None) or str(error)
