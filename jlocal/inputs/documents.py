"""Reading files as documents."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jlocal.errors import ExtraError, NotTextError, TextError
from jlocal.files import open_regular
from jlocal.inputs.encodings import Decoded, decode, may_be_text
from jlocal.inputs.flowing import read_flowing
from jlocal.inputs.formats import PAGE_BREAK, reader_of, require_reader
from jlocal.inputs.pdf.reader import read_pdf
from jlocal.terms import Message, Method

_MAX_FILE_SIZE = 64 << 20
# Bytes at the beginning of a file by which text is recognised.
_HEAD_SIZE = 1 << 16
# A file with one of these endings is text, or damaged.
_PROSE = (".md", ".markdown", ".txt", ".text", ".rst", ".org", ".adoc", ".tex")
_TEXT_ENDINGS = frozenset((*_PROSE, ".log", ".csv", ".tsv", ".json", ".jsonl", ".ndjson"))

_READ_LINES = Method("jlocal.inputs.lines.read_lines")
_NOT_REGULAR = Message(f"not a regular file; for a pipe use {_READ_LINES}", _READ_LINES)
# A picture inside a text: nobody searches for its bytes, which are more than the rest of the text.
_PAYLOAD = re.compile(r"(data:[\w.+-]+/[\w.+-]+(?:;[\w.+=-]+)*;base64,)[\w+/=-]{64,}")
# What to do about an errno of `open_regular`.
_REASONS = {
    errno.EINVAL: _NOT_REGULAR,
    errno.EISDIR: _NOT_REGULAR,
    errno.EFBIG: f"larger than {_MAX_FILE_SIZE >> 20} MiB; split it",
}


@dataclass(frozen=True)
class Document:
    """A text and its id.

    Attributes:
        id: the id of its vector.
        text: the text.
        losses: parts of the file that could not be read, or not completely, and why.
        encoding: the encoding of the file, unless it is UTF-8 or named by a byte order mark.
        headings: (start, end, level) of each heading in the text, for formats other than plain
            text. The title of the document has level 0.

    """

    id: str
    text: str
    losses: tuple[Unreadable, ...] = ()
    encoding: str = field(default="", compare=False)
    headings: tuple[tuple[int, int, int], ...] = ()


Cause = Literal["failure", "binary", "special", "extra"]


@dataclass(frozen=True)
class Unreadable:
    """An input that could not be read, and why.

    Attributes:
        id: its name.
        reason: the reason.
        is_known: whether its content was examined: a folder without files, or a file without text.
        cause: "binary" for a file that is not text and is not named as text; "special" for a file
            that is not regular; "extra" if a package is not installed; otherwise "failure".
        extra: the extra of jlocal that installs the package.

    """

    id: str
    reason: str
    is_known: bool = field(default=False, compare=False)
    cause: Cause = field(default="failure", compare=False)
    extra: str = field(default="", compare=False)


def read_file(
    path: Path, encoding: str | None = None, *, in_records: bool = False
) -> Document | Unreadable:
    """Read one file as one document, without its final line breaks.

    The text of HTML is the visible text of the page. In other text, `…` stands for the bytes of a
    `data:` URI, such as a picture. `formats.PAGE_BREAK` separates the pages of a PDF file; a page
    that cannot be read is empty, and is one of the document's losses.

    Args:
        path: the file.
        encoding: encoding of text that is not UTF-8, as in `encodings.decode`; ignored for HTML.
        in_records: read text of an unclear encoding as UTF-8, with surrogates for invalid bytes:
            perhaps only some of its records are bad.

    """
    reader = reader_of(path)
    # Perhaps only some of the records are bad.
    is_checked = not (reader or in_records)
    try:
        data = _read_bytes(path, encoding, is_checked=is_checked)
    except (OSError, ValueError) as error:
        return _open_failure(path, error)
    except NotTextError as error:
        return _not_text(path, error)
    try:
        require_reader(path)
        if reader:
            return (
                _read_pdf_file(path, data)
                if reader == "pdf"
                else _read_flowing_file(path, data, reader)
            )
        return _decode_text(path, data, encoding, in_records)
    except NotTextError as error:
        return _not_text(path, error)
    except TextError as error:
        return Unreadable(str(path), error.reason, is_known=True)
    except ExtraError as error:
        return Unreadable(str(path), error.message, cause="extra", extra=error.extra)


def begins_as_text(path: Path, encoding: str | None = None) -> bool:
    """Return whether a file may be text, by its beginning.

    Args:
        path: the file.
        encoding: as in `read_file`.

    Raises:
        OSError: it cannot be read.

    """
    with open_regular(path) as file:
        return may_be_text(file.read(_HEAD_SIZE), encoding)


def skip_cause(path: Path, encoding: str | None = None) -> Cause | Literal["empty"] | None:
    """Return why `read_file` would skip a file, by its beginning.

    None if it would read the file or report a failure, as far as the beginning shows.

    Args:
        path: the file.
        encoding: as in `read_file`.

    """
    try:
        require_reader(path)
        with open_regular(path) as file:
            head = file.read(_HEAD_SIZE)
    except ExtraError:
        return "extra"
    except (OSError, ValueError) as error:
        return "special" if getattr(error, "errno", 0) == errno.EINVAL else None
    if len(head) < _HEAD_SIZE and not head.strip():
        return "empty"
    if reader_of(path) or _has_text_ending(path) or may_be_text(head, encoding):
        return None
    return "binary"


def _read_bytes(path: Path, encoding: str | None, *, is_checked: bool) -> bytes:
    """Read a file; if checked, stop after the beginning of a file that is not text."""
    with open_regular(path) as file:
        data = file.read(_HEAD_SIZE)
        if len(data) < _HEAD_SIZE:
            return data
        if is_checked and not may_be_text(data, encoding):
            raise NotTextError("not text")
        data += file.read(_MAX_FILE_SIZE + 1 - len(data))
    if len(data) > _MAX_FILE_SIZE:
        raise OSError(errno.EFBIG, _REASONS[errno.EFBIG], str(path))
    return data


def _has_text_ending(path: Path) -> bool:
    return path.suffix.lower() in _TEXT_ENDINGS


def _not_text(path: Path, error: NotTextError) -> Unreadable:
    cause: Cause = "failure" if _has_text_ending(path) else "binary"
    return Unreadable(str(path), error.message, is_known=True, cause=cause)


def _open_failure(path: Path, error: OSError | ValueError) -> Unreadable:
    number = getattr(error, "errno", 0)
    reason = _REASONS.get(number)
    cause: Cause = "special" if number == errno.EINVAL else "failure"
    return Unreadable(str(path), reason or system_message(error), reason is not None, cause)


def _decode_text(path: Path, data: bytes, encoding: str | None, in_records: bool) -> Document:
    try:
        decoded = decode(data, encoding)
    except TextError:
        if not in_records:
            raise
        decoded = Decoded(data.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    text = decoded.text.rstrip("\r\n")
    if not in_records:
        text = _PAYLOAD.sub(r"\1…", text)
    return Document(str(path), text, encoding=decoded.encoding)


def _read_pdf_file(path: Path, data: bytes) -> Document:
    read = read_pdf(data)
    losses = (
        Unreadable(f"{path} {loss.place}".rstrip(), loss.reason, is_known=True)
        for loss in read.losses
    )
    return Document(str(path), PAGE_BREAK.join(read.pages), tuple(losses))


def _read_flowing_file(path: Path, data: bytes, reader: str) -> Document:
    read = read_flowing(data, reader)
    losses = (Unreadable(str(path), loss, is_known=True) for loss in read.losses)
    return Document(str(path), read.text, tuple(losses), headings=read.headings)


def system_message(error: OSError | ValueError) -> str:
    """Return the system's message; a name with a NUL raises ValueError."""
    return getattr(error, "strerror", None) or str(error)
