"""From files to documents."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

from jlocal.encodings import Decoded, decode
from jlocal.errors import ExtraError, TextError
from jlocal.extract import PAGE_BREAK, kind_of, need
from jlocal.extract.flowing import read_flowing
from jlocal.extract.pdf import read_pdf
from jlocal.files import read_regular

_LARGEST_FILE = 64 << 20
# Where a longer line ends is looked for so far.
_LONGEST_LINE = 1 << 30

# What `read_regular` finds, and what to do about it.
_NO_TEXT = {
    errno.EINVAL: "not a regular file; for a pipe use -i",
    errno.EISDIR: "not a regular file; for a pipe use -i",
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
    try:
        data = read_regular(path, _LARGEST_FILE)
    except (OSError, ValueError) as error:
        reason = _NO_TEXT.get(getattr(error, "errno", 0))
        return Unreadable(str(path), reason or reason_of(error), is_known=reason is not None)
    try:
        need(path)
        if kind := kind_of(path):
            return _pdf(path, data) if kind == "pdf" else _flowing(path, data, kind)
        return _plain(path, data, encoding, in_records)
    except TextError as error:
        return Unreadable(str(path), error.reason, is_known=True)
    except ExtraError as error:
        return Unreadable(str(path), str(error))


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
