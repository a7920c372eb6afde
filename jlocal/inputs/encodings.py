"""Decoding text: by byte order mark, as UTF-8, by the user's choice, or by detection."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from jlocal.errors import ArgumentError, NotTextError, TextError
from jlocal.inputs.detection import CONTROLS, can_decode, guess
from jlocal.terms import Argument, Message

# UTF-32's mark begins with UTF-16's, so it is tried first.
ENCODING = Argument("encoding")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_DISPLAY_NAMES = {
    "CP932": "Shift_JIS",
    "CP949": "EUC-KR",
    "CP874": "Windows-874",
    "BIG5HKSCS": "Big5",
    "EUC-JIS-2004": "EUC-JP",
    "ISO2022-JP-EXT": "ISO-2022-JP",
}

# Codecs of Python that are not encodings of text files, or are slow.
_NOT_TEXT_ENCODINGS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}


@dataclass(frozen=True)
class Decoded:
    """A text, and the name of its encoding where that was told by neither UTF-8 nor a mark."""

    text: str
    encoding: str = ""


def decode(data: bytes, encoding: str | None = None) -> Decoded:
    """Decode a text.

    Args:
        data: all bytes of the text.
        encoding: encoding of text without a byte order mark that is not UTF-8, as `python_name`
            returns it; None detects it.

    Raises:
        NotTextError: the bytes are not text.
        TextError: the encoding is not clear, or is not the one that was named.

    """
    mark, marked_encoding = byte_order_mark(data)
    if marked_encoding:
        return Decoded(_decode_strictly(data[len(mark) :], marked_encoding))
    is_plain = data.isascii() and not (encoding or b"\x1b" in data)
    if b"\0" not in data and (is_plain or (not data.isascii() and can_decode(data, "utf-8"))):
        return Decoded(data.decode())
    chosen = encoding or guess(data) or "utf-8"
    text = _decode_strictly(data, chosen)
    is_utf8 = chosen == "utf-8" or (data.isascii() and text == data.decode())
    return Decoded(text, "" if is_utf8 else display_name(chosen))


def byte_order_mark(data: bytes) -> tuple[bytes, str]:
    """Return the byte order mark that text begins with, and the encoding that it names."""
    return next((item for item in _MARKS if data.startswith(item[0])), (b"", ""))


def is_wide(encoding: str) -> bool:
    """Return whether a line break takes more than one byte."""
    return encoding.replace("_", "-").startswith(("utf-16", "utf-32"))


def _decode_strictly(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        reason = f"not {display_name(encoding)} text"
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
    """Return whether a file with this beginning may be text.

    Args:
        head: beginning of the file, which may end within a character.
        encoding: as in `decode`.

    """
    if byte_order_mark(head)[1] or is_wide(encoding or "") or not CONTROLS.search(head):
        return True
    if b"\0" not in head and (encoding or _begins_as_utf8(head)):
        return True
    # Encodings of two or four bytes per character have control characters.
    return guess(head[: len(head) & ~3]) is not None


def _begins_as_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def python_name(name: str) -> str:
    """Return Python's name of an encoding.

    Raises:
        ArgumentError: there is no such encoding of text.

    """
    try:
        codec = codecs.lookup(name)
        b"x".decode(codec.name, "ignore")
    except (LookupError, ValueError):
        codec = None
    if codec is None or codec.name.replace("-", "_") in _NOT_TEXT_ENCODINGS:
        raise ArgumentError(
            f"there is no encoding {name!r}; for example: cp1252, cp932, utf-16-le",
            argument="encoding",
        )
    return codec.name


def display_name(encoding: str) -> str:
    """Return the usual name of an encoding."""
    name = encoding.upper().replace("_", "-").replace("ISO8859", "ISO-8859")
    return _DISPLAY_NAMES.get(name, re.sub("^CP125", "Windows-125", name))
