"""The reading order of right-to-left words, which PDFium may return in drawing order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Hebrew, Arabic and their neighbours, with points, vowels and shapes of letters.
_WORD = re.compile(
    "[\u0591-\u05f4\u0610-\u061a\u0620-\u065f\u066e-\u06d3\u06d5-\u06ef\u06fa-\u08ff"
    "\ufb1d-\ufdff\ufe70-\ufefc]{2,}"
)
_MARK = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670]"
)


@dataclass(frozen=True)
class Box:
    """The position of a character on its page."""

    left: float
    right: float
    bottom: float


def reading_order(codes: Sequence[int], box: Callable[[int], Box]) -> Sequence[int]:
    """Return the indices of characters in reading order.

    Args:
        codes: code points.
        box: returns the box of the character at an index.

    """
    text = "".join(map(chr, codes))
    order: list[int] | None = None
    for word in _WORD.finditer(text):
        places = range(*word.span())
        boxes = [box(place) for place in places]
        if _runs_against(word[0], boxes):
            order = order or list(range(len(codes)))
            turned = sorted(zip(_keys(word[0], boxes), places, strict=True))
            order[word.start() : word.end()] = [place for _, place in turned]
    return range(len(codes)) if order is None else order


def _runs_against(word: str, boxes: Sequence[Box]) -> bool:
    lefts = [box.left for letter, box in zip(word, boxes, strict=True) if not _MARK.match(letter)]
    bottoms = [box.bottom for box in boxes]
    width = max(box.right for box in boxes) - min(box.left for box in boxes)
    is_level = max(bottoms) - min(bottoms) < width
    return is_level and lefts != sorted(lefts, reverse=True)


def _keys(word: str, boxes: Sequence[Box]) -> list[tuple[float, bool]]:
    """Return sort keys from right to left; a combining mark follows its letter."""
    letters = [box for letter, box in zip(word, boxes, strict=True) if not _MARK.match(letter)]
    keys = []
    for character, box in zip(word, boxes, strict=True):
        middle = (box.left + box.right) / 2
        carrier = next((b for b in letters if b.left <= middle < b.right), box)
        keys.append((-carrier.left, carrier is not box and bool(_MARK.match(character))))
    return keys
