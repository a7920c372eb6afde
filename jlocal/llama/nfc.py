"""Unicode normalisation to NFC in steps that are short, however large or odd the text is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

# Python handles no signal within a step. ASCII composes with nothing before it, so a text may be
# split there; a whole file without ASCII is normalised in less than a second.
_PIECE = re.compile(r"[\s\S]{1,1000000}[^\0-\x7f]*")

# Python sorts a run of combining marks in quadratic time.
_MANY = 2048


def is_nfc(text: str) -> bool:
    """Tell whether a text is certainly in NFC; False may be wrong for odd texts."""
    if text.isascii():
        return True
    if _may_have_many_marks(text) and _many_marks().search(text):
        return False
    return all(unicodedata.is_normalized("NFC", piece) for piece in _pieces(text))


def nfc(text: str) -> str:
    """Normalise a text to NFC."""
    if _may_have_many_marks(text):
        text = _many_marks().sub(_in_order, text)
    return "".join(unicodedata.normalize("NFC", piece) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    return (match[0] for match in _PIECE.finditer(text))


def _in_order(marks: re.Match[str]) -> str:
    """Take the first steps of normalisation: decompose the marks and sort them by class."""
    parts = "".join(unicodedata.normalize("NFD", mark) for mark in marks[0])
    return "".join(sorted(parts, key=unicodedata.combining))


def _may_have_many_marks(text: str) -> bool:
    """Sample characters so closely that no run of many marks can lie between two of them."""
    return any(map(unicodedata.combining, text[::_MANY]))


@cache
def _many_marks() -> re.Pattern[str]:
    # Unicode has all its marks in this range; searching every character takes a tenth of a second.
    marks = "".join(filter(unicodedata.combining, map(chr, range(0x300, 0x1F000))))
    return re.compile(f"[{marks}]{{{_MANY},}}")
