"""The child process that reads the text of e-mails."""

from __future__ import annotations

import codecs
import contextlib
import email
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from typing import cast

from jlocal import extras
from jlocal.errors import ArgumentError, ExtraError, TextError
from jlocal.inputs.encodings import decode, python_name
from jlocal.inputs.serve import serve

_MAX_TEXT = 64 << 20
_HEADERS = ("From", "To", "Cc", "Date")
# A file without any of these headers is not a message.
_REQUIRED_HEADERS = ("from", "to", "subject", "date", "received", "message-id", "mime-version")
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
# Exceptions of the standard library for malformed headers.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def read(data: bytes) -> dict[str, object]:
    """Read a message.

    Returns:
        `text`: the subject, sender, recipients, date and text, and the names of attached files,
        whose content is not read; `headings`: the subject; `losses`: the reasons why parts of the
        text are missing.

    Raises:
        TextError: the file is not an e-mail, or is too large.

    """
    try:
        message = email.message_from_bytes(data.lstrip(), _class=EmailMessage, policy=SMTP)
        if not any(name in message for name in _REQUIRED_HEADERS):
            raise TextError("not an e-mail, or damaged")
        parts = _Parts(message)
    except _MALFORMED as error:
        raise TextError("damaged: the parts of the e-mail cannot be told apart") from error
    subject = _header(message, "Subject")
    headers = (f"{name}: {value}" for name in _HEADERS if (value := _header(message, name)))
    attached = (f"Attached: {name}" for name in parts.attached)
    pieces = (subject, "\n".join(headers), *parts.texts)
    text = "\n\n".join(filter(None, (*pieces, "\n".join(attached)))).replace("\0", "\ufffd")
    if len(text) > _MAX_TEXT:
        raise TextError(f"more than {_MAX_TEXT >> 20} million characters of text; split it")
    headings = [(0, len(subject), 0)] if subject else []
    return {"text": text, "headings": headings, "losses": parts.losses}


class _Parts:
    """The parts of a message.

    Attributes:
        texts: the texts that a mail program shows.
        attached: the names of the attached files.
        losses: the reasons why texts are missing.

    """

    def __init__(self, message: EmailMessage) -> None:
        self.texts: list[str] = []
        self.attached: list[str] = []
        self.losses: list[str] = []
        self._read(message)

    def _read(self, part: EmailMessage) -> None:
        content_type = part.get_content_type()
        if content_type in _ENCRYPTED:
            self.losses.append("encrypted or sealed; only its headers are read")
        elif content_type == "multipart/alternative":
            self._read_best(list(_subparts(part)))
        elif content_type.startswith("multipart/"):
            for subpart in _subparts(part):
                self._read(subpart)
        elif content_type.startswith("message/"):
            subjects = [_header(subpart, "Subject") for subpart in _subparts(part)]
            self.attached.append("".join(subjects) or content_type)
        elif part.get_filename() or part.get_content_disposition() == "attachment":
            self.attached.append(" ".join((part.get_filename() or content_type).split()))
        elif content_type in ("text/plain", "text/html"):
            self._text(part, is_page=content_type == "text/html")

    def _read_best(self, choices: list[EmailMessage]) -> None:
        """Read the plain text if there is one; otherwise the sender's preferred form."""
        before = len(self.texts)
        choices.sort(key=lambda part: part.get_content_type() == "text/plain")
        while choices and len(self.texts) == before:
            self._read(choices.pop())

    def _text(self, part: EmailMessage, *, is_page: bool) -> None:
        data = cast(bytes, part.get_payload(decode=True) or b"")
        try:
            charset = part.get_content_charset()
            text = _html_text(data, charset) if is_page else _decode_part(data, charset)
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


def _subparts(part: EmailMessage) -> Iterator[EmailMessage]:
    """Yield the parts of a multipart; a damaged one has none."""
    payload = part.get_payload()
    yield from cast("list[EmailMessage]", payload if isinstance(payload, list) else [])


def _html_text(data: bytes, charset: str | None) -> str:
    extras.require("html", "an HTML e-mail; HTML pages need")
    from jlocal.inputs.html import read as read_page

    # The message's encoding takes precedence over the page's.
    page = data
    if charset:
        with contextlib.suppress(TextError):
            page = codecs.BOM_UTF8 + _decode_part(data, charset).encode()
    return read_page(page)[0]


def _decode_part(data: bytes, charset: str | None) -> str:
    """Decode a text by its declared charset, or by detection if that is missing or wrong."""
    if charset and charset != "us-ascii":
        try:
            name = python_name(charset)
            return decode(data, name).text
        except ArgumentError:
            pass
        except TextError:
            return data.decode(name, "replace")
    try:
        return decode(data).text
    except TextError:
        raise TextError("its encoding is neither declared nor clear") from None


def _header(message: EmailMessage, name: str) -> str:
    """Return the value of a header on one line."""
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
