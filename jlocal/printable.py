"""Making untrusted text safe for a terminal or a log."""

from __future__ import annotations

import json
import unicodedata

from jlocal.filenames import rejoined

# They join or separate letters and parts of emoji, and are harmless to a terminal.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """Replace control characters, line breaks and bidi marks, which a terminal interprets.

    The result is one line. Each replaced character becomes U+FFFD.
    """
    if text.isprintable():
        return text
    text = rejoined(text)
    return "".join(letter if _is_harmless(letter) else "\ufffd" for letter in text)


def printable_json(value: object, indent: int | None = None) -> str:
    """Return JSON as readable text, with escapes for characters that a terminal interprets.

    Args:
        value: a value for `json.dumps`.
        indent: `indent` of `json.dumps`; None gives one line.

    """
    text = rejoined(json.dumps(value, ensure_ascii=False, indent=indent))
    # These line breaks are JSON's own: line breaks in strings are escaped.
    lines = text.split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_escaped, line)) for line in lines)


def _escaped(letter: str) -> str:
    return letter if _is_harmless(letter) else json.dumps(letter)[1:-1]


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"
