"""From files to documents."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jlocal.errors import ExtraError, NotTextError, TextError
from jlocal.files import open_regular
from jlocal.inputs.encodings import Decoded, decode, may_be_text
from jlocal.inputs.flowing import read_flowing
from jlocal.inputs.formats import PAGE_BREAK, kind_of, need
from jlocal.inputs.pdf.reader import read_pdf
from jlocal.terms import Message, Method

_LARGEST_FILE = 64 << 20
# How much of a file is looked at to tell whether it is text.
_HEAD = 1 << 16
# Files of these names are text, or damaged.
_PROSE = (".md", ".markdown", ".txt", ".text", ".rst", ".org", ".adoc", ".tex")
_TEXT_ENDINGS = frozenset((*_PROSE, ".log", ".csv", ".tsv", ".json", ".jsonl", ".ndjson"))

_READ_LINES = Method("jlocal.inputs.lines.read_lines")
_NOT_REGULAR = Message(f"not a regular file; for a pipe use {_READ_LINES}", _READ_LINES)
# What `read_regular` finds, and what to do about it.
_NO_TEXT = {
    errno.EINVAL: _NOT_REGULAR,
    errno.EISDIR: _NOT_REGULAR,
    errno.EFBIG: f"larger than {_LARGEST_FILE >> 20} MiB; split it",
}


@dataclass(frozen=True)
class Document:
    """A text and the name that its vector goes by.

    Attributes:
        id: the name.
        text: the text.
        losses: parts of the file that gave no text, or not all of it, and why.
        encoding: what the file was read as, where that is neither UTF-8 nor told by a mark.
        headings: (start, end, level) of headings in the text that nothing in it tells: of all but
            plain text. The title of the whole has level 0.

    """

    id: str
    text: str
    losses: tuple[Unreadable, ...] = ()
    encoding: str = field(default="", compare=False)
    headings: tuple[tuple[int, int, int], ...] = ()


Cause = Literal["failure", "binary", "special", "extra"]


@dataclass(frozen=True)
class Unreadable:
    """An input that gave no text, and why.

    Attributes:
        id: its name.
        reason: why.
        is_known: whether it was looked at: a folder without files, or a file without text.
        cause: "binary" is no text, nor is its name that of a text; "special" is no regular file;
            "extra" needs a package that is not installed; all else is a "failure".
        extra: the extra of jlocal that brings the package.

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

    Of HTML it is what the page shows; pages of a PDF file are separated by `extract.PAGE_BREAK`,
    and one that cannot be read is empty and among the document's losses.

    Args:
        path: the file.
        encoding: of text that is not UTF-8, as in `encodings.decode`; not of HTML.
        in_records: read text in an encoding that is not clear as UTF-8, with surrogates for the
            bytes that are none: only some of its records may be bad.

    """
    kind = kind_of(path)
    # Of records, only some may be bad.
    is_checked = not (kind or in_records)
    try:
        data = _bytes(path, encoding, is_checked=is_checked)
    except (OSError, ValueError) as error:
        return _unopened(path, error)
    except NotTextError as error:
        return _no_text(path, error)
    try:
        need(path)
        if kind:
            return _pdf(path, data) if kind == "pdf" else _flowing(path, data, kind)
        return _plain(path, data, encoding, in_records)
    except NotTextError as error:
        return _no_text(path, error)
    except TextError as error:
        return Unreadable(str(path), error.reason, is_known=True)
    except ExtraError as error:
        return Unreadable(str(path), str(error), cause="extra", extra=error.extra)


def begins_as_text(path: Path, encoding: str | None = None) -> bool:
    """Whether a file can be text, by its beginning.

    Args:
        path: the file.
        encoding: as in `read_file`.

    Raises:
        OSError: it cannot be read.

    """
    with open_regular(path) as file:
        return may_be_text(file.read(_HEAD), encoding)


def first_look(path: Path, encoding: str | None = None) -> Cause | Literal["empty"] | None:
    """Tell from the beginning of a file why `read_file` would find nothing to read in it.

    None where it would read it, or report a failure, as far as the beginning shows.

    Args:
        path: the file.
        encoding: as in `read_file`.

    """
    try:
        need(path)
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except ExtraError:
        return "extra"
    except (OSError, ValueError) as error:
        return "special" if getattr(error, "errno", 0) == errno.EINVAL else None
    if len(head) < _HEAD and not head.strip():
        return "empty"
    if kind_of(path) or _is_named_as_text(path) or may_be_text(head, encoding):
        return None
    return "binary"


def _bytes(path: Path, encoding: str | None, *, is_checked: bool) -> bytes:
    """Read a file; if checked, no more of it than shows that it is not text."""
    with open_regular(path) as file:
        data = file.read(_HEAD)
        if len(data) < _HEAD:
            return data
        if is_checked and not may_be_text(data, encoding):
            raise NotTextError("not text")
        data += file.read(_LARGEST_FILE + 1 - len(data))
    if len(data) > _LARGEST_FILE:
        raise OSError(errno.EFBIG, _NO_TEXT[errno.EFBIG], str(path))
    return data


def _is_named_as_text(path: Path) -> bool:
    return path.suffix.lower() in _TEXT_ENDINGS


def _no_text(path: Path, error: NotTextError) -> Unreadable:
    cause: Cause = "failure" if _is_named_as_text(path) else "binary"
    return Unreadable(str(path), str(error), is_known=True, cause=cause)


def _unopened(path: Path, error: OSError | ValueError) -> Unreadable:
    number = getattr(error, "errno", 0)
    reason = _NO_TEXT.get(number)
    cause: Cause = "special" if number == errno.EINVAL else "failure"
    return Unreadable(str(path), reason or reason_of(error), reason is not None, cause)


def _plain(path: Path, data: bytes, encoding: str | None, in_records: bool) -> Document:
    try:
        decoded = decode(data, encoding)
    except TextError:
        if not in_records:
            raise
        decoded = Decoded(data.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    return Document(str(path), decoded.text.rstrip("\r\n"), encoding=decoded.encoding)


def _pdf(path: Path, data: bytes) -> Document:
    read = read_pdf(data)
    losses = (
        Unreadable(f"{path} {loss.place}".rstrip(), loss.reason, is_known=True)
        for loss in read.losses
    )
    return Document(str(path), PAGE_BREAK.join(read.pages), tuple(losses))


def _flowing(path: Path, data: bytes, kind: str) -> Document:
    read = read_flowing(data, kind)
    losses = (Unreadable(str(path), loss, is_known=True) for loss in read.losses)
    return Document(str(path), read.text, tuple(losses), headings=read.headings)


def reason_of(error: OSError | ValueError) -> str:
    """Return the system's own words; a name with a NUL is a ValueError."""
    return getattr(error, "strerror", None) or str(error)
