"""Bytes to text: UTF-8, what a byte order mark tells, what the user tells, or a guess."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from jlocal.errors import ArgumentError, NotTextError, TextError
from jlocal.inputs.detection import CONTROLS, fits, guess
from jlocal.terms import Argument, Message

# UTF-32's mark begins with UTF-16's, so it is asked for first.
ENCODING = Argument("encoding")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_LABELS = {
    "CP932": "Shift_JIS",
    "CP949": "EUC-KR",
    "CP874": "Windows-874",
    "BIG5HKSCS": "Big5",
    "EUC-JIS-2004": "EUC-JP",
    "ISO2022-JP-EXT": "ISO-2022-JP",
}

# Python's own notations, which are no encodings of text, or slow.
_NOT_FOR_FILES = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}


@dataclass(frozen=True)
class Decoded:
    """A text, and the name of its encoding where that was told by neither UTF-8 nor a mark."""

    text: str
    encoding: str = ""


def decode(data: bytes, encoding: str | None = None) -> Decoded:
    """Decode the bytes of a text.

    Args:
        data: all of them.
        encoding: of text that has no byte order mark and is not UTF-8, as `known` names it; None
            guesses it.

    Raises:
        NotTextError: the bytes are not text.
        TextError: they are text in an encoding that is not clear, or not in the one that was named.

    """
    mark, marked = of_mark(data)
    if marked:
        return Decoded(_text(data[len(mark) :], marked))
    is_plain = data.isascii() and not (encoding or b"\x1b" in data)
    if b"\0" not in data and (is_plain or (not data.isascii() and fits(data, "utf-8"))):
        return Decoded(data.decode())
    chosen = encoding or guess(data) or "utf-8"
    text = _text(data, chosen)
    is_utf8 = chosen == "utf-8" or (data.isascii() and text == data.decode())
    return Decoded(text, "" if is_utf8 else label(chosen))


def of_mark(data: bytes) -> tuple[bytes, str]:
    """Return the byte order mark that text begins with, and the encoding that it tells."""
    return next((item for item in _MARKS if data.startswith(item[0])), (b"", ""))


def is_wide(encoding: str) -> bool:
    """Whether a line break is more than one byte."""
    return encoding.replace("_", "-").startswith(("utf-16", "utf-32"))


def _text(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        reason = f"not {label(encoding)} text"
        if CONTROLS.search(data) and not is_wide(encoding):
            raise NotTextError(reason) from None
        if encoding != "utf-8":
            raise TextError(reason) from None
        line = 1 + data.count(b"\n", 0, error.start)
        place = f"0x{data[error.start]:02X} in line {line:,}"
        raise TextError(
            Message(
                f"{reason}: {place}; name its encoding with {ENCODING}, such as cp1252", ENCODING
            )
        ) from None
    if "\0" in text:
        raise NotTextError("not text: it contains NUL characters")
    return text


def may_be_text(head: bytes, encoding: str | None = None) -> bool:
    """Whether what begins like this can be text at all.

    Args:
        head: the beginning of a file, which may end within a character.
        encoding: as in `decode`.

    """
    if of_mark(head)[1] or is_wide(encoding or "") or not CONTROLS.search(head):
        return True
    if b"\0" not in head and (encoding or _begins_as_utf8(head)):
        return True
    # Two or four bytes for a character have such bytes.
    return guess(head[: len(head) & ~3]) is not None


def _begins_as_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def known(name: str) -> str:
    """Return Python's name of an encoding.

    Raises:
        ArgumentError: there is no such encoding of text.

    """
    try:
        found = codecs.lookup(name)
        b"x".decode(found.name, "ignore")
    except (LookupError, ValueError):
        found = None
    if found is None or found.name.replace("-", "_") in _NOT_FOR_FILES:
        raise ArgumentError(
            f"there is no encoding {name!r}; for example: cp1252, cp932, utf-16-le",
            argument="encoding",
        )
    return found.name


def label(encoding: str) -> str:
    """Return the name that people know an encoding by."""
    name = encoding.upper().replace("_", "-").replace("ISO8859", "ISO-8859")
    return _LABELS.get(name, re.sub("^CP125", "Windows-125", name))
