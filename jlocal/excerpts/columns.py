"""The width of a text in terminal columns, and line breaking."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A line begins with one of these only if there is no other place for the break.
_CLOSING = frozenset("、。，．：；！？）」』】》〉”’…)]}.,;:!?")

# One column each: Latin, Greek, Cyrillic, and the signs that are printed around them. The tables
# of all others take a while to load.
_NARROW = re.compile("[ -~\xa1-\xac\xae-\u02ff\u0370-\u0482\u048a-\u058f‐-―‘-„…‹›€•●○·]*")


def width(text: str) -> int:
    """Count the columns of a printable text."""
    if _NARROW.fullmatch(text):
        return len(text)
    return sum(columns for _, columns in _clusters(text))


def clipped(text: str, columns: int, ellipsis: str = "…") -> str:
    """Cut a printable text to a number of columns; an ellipsis marks the cut."""
    if width(text) <= columns:
        return text
    return text[: _fits(text, 0, columns - len(ellipsis))].rstrip() + ellipsis


def clipped_left(text: str, columns: int, ellipsis: str = "…") -> str:
    """Cut the beginning of a printable text to a number of columns."""
    if width(text) <= columns:
        return text
    room, start = columns - len(ellipsis), len(text)
    for cluster, used in reversed(list(_clusters(text))):
        room -= used
        if room < 0:
            break
        start -= len(cluster)
    return ellipsis + text[start:].lstrip()


def wrapped(text: str, columns: int, most: int) -> list[tuple[int, int]]:
    """Break a printable text into lines.

    Args:
        text: without line breaks.
        columns: the width of the widest line.
        most: the largest number of lines.

    Returns:
        Where each line begins and ends, in characters; the white space between two lines belongs
        to neither. The last line ends before the end of the text where there is more text.

    """
    lines: list[tuple[int, int]] = []
    start, end = 0, len(text)
    while start < end and len(lines) < most:
        fits = _fits(text, start, columns)
        if fits < end:
            fits = _break(text, start, fits)
        stop = fits
        while stop > start and text[stop - 1] == " ":
            stop -= 1
        lines.append((start, stop))
        start = fits
        while start < end and text[start] == " ":
            start += 1
    return lines


def _fits(text: str, start: int, columns: int) -> int:
    """Find the end of the longest line from `start` that fits; it has at least one character."""
    # One more letter is checked: it may be a combining mark of the last one.
    if _NARROW.fullmatch(text, start, start + columns + 1):
        return min(start + max(columns, 1), len(text))
    used, place = 0, start
    # A cluster of no width is rare, and a longer piece than this would be no text.
    for cluster, wide in _clusters(text[start : start + 16 * (columns + 1)]):
        if used + wide > columns and place > start:
            break
        used += wide
        place += len(cluster)
    return place


def _break(text: str, start: int, fits: int) -> int:
    """Move the end of a line to the best place before it."""
    if text[fits] == " ":
        return fits
    space = text.rfind(" ", start, fits) + 1
    for place in range(fits, max(space, start, fits - 3), -1):
        before, after = text[place - 1], text[place]
        if (_is_ideograph(before) or _is_ideograph(after)) and after not in _CLOSING:
            return place
    return space if space - start > (fits - start) // 2 else fits


def _is_ideograph(letter: str) -> bool:
    """Tell whether a line may be broken at this letter: Han, kana and their punctuation."""
    return "\u2e80" <= letter <= "\uabff" or "\uf900" <= letter <= "\uffef" or letter > "\U0001ffff"


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Split a text into grapheme clusters, each with its width in columns."""
    from wcwidth import iter_graphemes, wcswidth

    for cluster in iter_graphemes(text):
        # The width of control characters is -1; a printable text has none.
        yield cluster, max(wcswidth(cluster), 0)
