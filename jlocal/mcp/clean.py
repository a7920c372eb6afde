"""Texts and names for a model: data without control characters."""

from __future__ import annotations

import re
import unicodedata

from jlocal.filenames import portable, rejoined
from jlocal.printable import printable

# Sequences that a terminal obeys: those of ECMA-48, and those that end in BEL or ST.
_ESCAPES = re.compile(
    "\x1b\\][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    "|\x1b[ -/]*[0-~]?"
)
_KEPT = "\n\t\u200c\u200d"
# Control characters, invisible marks of direction and tags, lone surrogates, unassigned letters.
_REMOVED = ("Cc", "Cf", "Cs", "Co", "Cn")


def cleaned(text: str) -> str:
    """Return the text of a document without control characters and marks of direction.

    Lines, tabs and joiners of letters stay; each removed character becomes U+FFFD, and an escape
    sequence becomes one.
    """
    text = rejoined(text).replace("\r\n", "\n").replace("\r", "\n")
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPES.sub("\ufffd", text)
    text = text.replace("\u2028", "\n").replace("\u2029", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        letter
        if letter in _KEPT or unicodedata.category(letter) not in _REMOVED
        else "\ufffd"
        for letter in text
    )  # fmt: skip


def shown_name(name: str) -> str:
    """Return a name of a document or folder in one printable line that UTF-8 can hold."""
    return printable(portable(name))
