"""Text from outside, made safe to show on a terminal or in a log."""

from __future__ import annotations

# Joins the parts of one emoji, and commands nothing.
_ZERO_WIDTH_JOINER = "\u200d"


def printable(text: str) -> str:
    """Replace every character that a terminal may obey: controls, line breaks, bidi marks.

    The result is one line. Each replaced character becomes U+FFFD.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == _ZERO_WIDTH_JOINER else "\ufffd"
        for letter in text
    )
