"""The child that reads e-mails: bytes of a message in, what a person reads of it out."""

from __future__ import annotations

import codecs
import email
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from typing import cast

from jlocal import extras
from jlocal.errors import ArgumentError, ExtraError, TextError
from jlocal.inputs.encodings import decode, known
from jlocal.inputs.serve import serve

_LARGEST_TEXT = 64 << 20
_HEADERS = ("From", "To", "Cc", "Date")
# A message begins with one of these; a file without any of them is something else.
_MARKS = ("from", "to", "subject", "date", "received", "message-id", "mime-version")
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
# What the standard library raises for headers that nobody's program writes.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def read(data: bytes) -> dict[str, object]:
    """Read a message.

    Returns:
        `text`: the subject, who wrote it to whom and when, the text, and the names of attached
        files, which are not read; `headings`: the subject is one; `losses`: why a part of the text
        is missing.

    Raises:
        TextError: it is no e-mail, or too large.

    """
    try:
        message = email.message_from_bytes(data.lstrip(), _class=EmailMessage, policy=SMTP)
        if not any(name in message for name in _MARKS):
            raise TextError("not an e-mail, or damaged")
        parts = _Parts(message)
    except _MALFORMED as error:
        raise TextError("damaged: the parts of the e-mail cannot be told apart") from error
    subject = _header(message, "Subject")
    headers = (f"{name}: {value}" for name in _HEADERS if (value := _header(message, name)))
    attached = (f"Attached: {name}" for name in parts.attached)
    pieces = (subject, "\n".join(headers), *parts.texts)
    text = "\n\n".join(filter(None, (*pieces, "\n".join(attached))))
    if len(text) > _LARGEST_TEXT:
        raise TextError(f"more than {_LARGEST_TEXT >> 20} million characters of text; split it")
    headings = [(0, len(subject), 0)] if subject else []
    return {"text": text, "headings": headings, "losses": parts.losses}


class _Parts:
    """What a message consists of.

    Attributes:
        texts: those that a mail program shows.
        attached: names of the files.
        losses: why a text is missing.

    """

    def __init__(self, message: EmailMessage) -> None:
        self.texts: list[str] = []
        self.attached: list[str] = []
        self.losses: list[str] = []
        self._read(message)

    def _read(self, part: EmailMessage) -> None:
        kind = part.get_content_type()
        if kind in _ENCRYPTED:
            self.losses.append("encrypted or sealed; only its headers are read")
        elif kind == "multipart/alternative":
            self._read_best(list(_inside(part)))
        elif kind.startswith("multipart/"):
            for inner in _inside(part):
                self._read(inner)
        elif kind.startswith("message/"):
            subjects = [_header(inner, "Subject") for inner in _inside(part)]
            self.attached.append("".join(subjects) or kind)
        elif part.get_filename() or part.get_content_disposition() == "attachment":
            self.attached.append(" ".join((part.get_filename() or kind).split()))
        elif kind in ("text/plain", "text/html"):
            self._text(part, is_page=kind == "text/html")

    def _read_best(self, choices: list[EmailMessage]) -> None:
        """Read plain text where there is any; otherwise what the sender prefers."""
        before = len(self.texts)
        choices.sort(key=lambda part: part.get_content_type() == "text/plain")
        while choices and len(self.texts) == before:
            self._read(choices.pop())

    def _text(self, part: EmailMessage, *, is_page: bool) -> None:
        data = cast(bytes, part.get_payload(decode=True) or b"")
        try:
            charset = part.get_content_charset()
            text = _page(data, charset) if is_page else _decoded(data, charset)
        except TextError as error:
            if data.strip():
                self.losses.append(error.reason)
            return
        except ExtraError as error:
            self.losses.append(error.message)
            return
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
        if text:
            self.texts.append(text)


def _inside(part: EmailMessage) -> Iterator[EmailMessage]:
    """List the parts of one; a multipart message that is damaged has none."""
    payload = part.get_payload()
    yield from cast("list[EmailMessage]", payload if isinstance(payload, list) else [])


def _page(data: bytes, charset: str | None) -> str:
    extras.require("html", "an HTML e-mail; HTML pages need")
    from jlocal.inputs.html import read as read_page

    # What the message says of its encoding stands above what the page says.
    page = codecs.BOM_UTF8 + _decoded(data, charset).encode() if charset else data
    return read_page(page)[0]


def _decoded(data: bytes, charset: str | None) -> str:
    """Decode a text as it is declared; by its bytes where that is missing or wrong."""
    if charset and charset != "us-ascii":
        try:
            name = known(charset)
            return decode(data, name).text
        except ArgumentError:
            pass
        except TextError:
            return data.decode(name, "replace").replace("\0", "\ufffd")
    try:
        return decode(data).text
    except TextError:
        raise TextError("its encoding is neither declared nor clear") from None


def _header(message: EmailMessage, name: str) -> str:
    """Return a header's words on one line."""
    try:
        value = str(message.get(name, ""))
    except _MALFORMED:
        value = next(str(text) for key, text in message.raw_items() if key.lower() == name.lower())
    data = " ".join(value.split()).encode("utf-8", "surrogateescape")
    try:
        return decode(data).text
    except TextError:
        return data.decode("utf-8", "replace").replace("\0", "\ufffd")


if __name__ == "__main__":
    serve(read)
