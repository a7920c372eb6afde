"""Text from outside, made safe to show on a terminal or in a log."""

from __future__ import annotations

import json
import unicodedata

from jlocal.filenames import rejoined

# They join letters and the parts of one emoji, or keep letters apart, and command nothing.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """Replace every character that a terminal may obey: controls, line breaks, bidi marks.

    The result is one line. Each replaced character becomes U+FFFD.
    """
    if text.isprintable():
        return text
    text = rejoined(text)
    return "".join(letter if _is_harmless(letter) else "\ufffd" for letter in text)


def printable_json(value: object, indent: int | None = None) -> str:
    """Write JSON as text that may be read, with escapes for what a terminal may obey.

    Args:
        value: what `json.dumps` takes.
        indent: as there; None gives one line.

    """
    text = rejoined(json.dumps(value, ensure_ascii=False, indent=indent))
    # The line breaks are JSON's own: those of strings are escaped.
    lines = text.split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_escaped, line)) for line in lines)


def _escaped(letter: str) -> str:
    return letter if _is_harmless(letter) else json.dumps(letter)[1:-1]


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"
