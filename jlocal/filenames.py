"""Names of files as text that is the same in every locale.

Python decodes the bytes of a name in the encoding of the locale; other bytes become lone
surrogates (PEP 383), so that one name is another `str` in another locale.
"""

from __future__ import annotations

import os
import sys

_IS_UTF8 = sys.getfilesystemencoding() == "utf-8"


def portable(name: str) -> str:
    """Return a name of this locale as UTF-8; bytes that are not UTF-8 stay lone surrogates."""
    if _IS_UTF8 or name.isascii():
        return name
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no name of a file, which this locale could not have given
        return name


def native(name: str) -> str:
    """Return a name of `portable` in the form that this locale's file functions take."""
    if _IS_UTF8 or name.isascii():
        return name
    try:
        return os.fsdecode(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return name


def rejoined(text: str) -> str:
    """Return text in which lone surrogates that stand for UTF-8 are characters again."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # other surrogates, which stand for no bytes
        return text
