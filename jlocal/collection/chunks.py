"""Long texts into chunks, measured in the model's tokens and cut where a reader would cut."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jlocal.errors import ArgumentError, TextError

_HEADING = re.compile(r"\n(?=#{1,6}[ \t])")  # in Markdown
# Where to cut, best first: each pattern ends where a new chunk may begin.
_BOUNDARIES = (
    _HEADING,
    re.compile(r"\n[ \t\r]*\n[\s]*(?<=\n)"),  # after blank lines
    re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？｡][」』”’）]*|[।؟۔።។]\s*"),  # after a sentence
    re.compile(r"\n"),
    re.compile(r"\s+"),
)
# Of what could be filled, a cut leaves at least this part.
_FILLED = 0.5
# How much of the limit the search for the longest piece may leave unused.
_GOOD = 0.95
_SMALLEST = 16

CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Chunk:
    """A piece of a text.

    Attributes:
        start: where it begins, in characters from the start of the text.
        end: where it ends.
        first_line: the line that it begins in, from 1.
        last_line: the line that its last character but white space is in.
        text: the piece, without the white space at its end.

    """

    start: int
    end: int
    first_line: int
    last_line: int
    text: str


def check_size(limit: int, overlap: int, count: CountTokens, context: int) -> None:
    """Raise ArgumentError unless texts can be cut to chunks of this size."""
    smallest = count("") + _SMALLEST
    if not smallest <= limit <= context:
        raise ArgumentError(
            f"chunks of {limit:,} tokens; this model takes from {smallest:,} to {context:,}, "
            "the prompt included"
        )
    if not 0 <= overlap <= limit // 2:
        raise ArgumentError(
            f"an overlap of {overlap:,} tokens; it is at most half of a chunk's {limit:,}"
        )


def whole(text: str, line: int = 1) -> Chunk:
    """Return a text as one chunk."""
    return _chunk(text, 0, len(text), line)


def split(
    text: str, limit: int, overlap: int, count: CountTokens, line: int = 1
) -> Iterator[Chunk]:
    """Cut a text so that each chunk has at most `limit` tokens.

    Without overlap each chunk begins where the last one ended, so that the slices `start:end`
    give back the text. A chunk ends at the best boundary in the second half of what would fit:
    a heading, a blank line, the end of a sentence, of a line, of a word, or else anywhere.

    Args:
        text: the text.
        limit: the most tokens in a chunk, as `count` counts them.
        overlap: how many tokens of a chunk's end come again in the next, at most.
        count: how many tokens the model sees for a text, its prompt included.
        line: the number of the text's first line.

    Raises:
        TextError: a single character is above the limit.

    """
    ruler = _Ruler(text, limit, count)
    start = end = 0
    while end < len(text):
        fits = ruler.longest(start)
        if fits <= end:
            # The overlap leaves no room for anything new.
            line += text.count("\n", start, end)
            start = end
            fits = ruler.longest(start)
        end = fits if fits == len(text) else ruler.cut(start, fits, after=end)
        yield _chunk(text, start, end, line)
        after = end if not overlap or end == len(text) else ruler.back(start, end, overlap)
        line += text.count("\n", start, after)
        start = after


def _chunk(text: str, start: int, end: int, line: int) -> Chunk:
    piece = text[start:end].rstrip()
    return Chunk(start, end, line, line + piece.count("\n"), piece)


class _Ruler:
    """Measures pieces of one text."""

    def __init__(self, text: str, limit: int, count: CountTokens) -> None:
        self._text, self._limit, self._count = text, limit, count
        self._around = count("")
        self._characters = 4.0  # for each token, as last seen

    def longest(self, start: int) -> int:
        """Find where about the longest piece from `start` ends that is within the limit."""
        size = int(self._limit * self._characters)
        longest = len(self._text) - start
        return start + self._search(
            longest, size, self._limit, lambda n: self._text[start : start + n]
        )

    def back(self, start: int, end: int, overlap: int) -> int:
        """Find where the overlap with the next chunk begins: after `start`, `end` at the latest.

        It is at the first of the best boundaries, for as long an overlap as may be; and at `end`,
        where a new heading begins.
        """
        if _HEADING.match(self._text, end - 1):
            return end
        limit = self._around + overlap
        size = int(overlap * self._characters)
        length = self._search(
            end - start - 1, size, limit, lambda n: self._text[end - n : end], least=0
        )
        last = len(self._text[start:end].rstrip()) + start - 1
        return self._boundary(end - length - 1, last, first=True) or end - length

    def cut(self, start: int, fits: int, after: int) -> int:
        """Find the best end of a piece from `start`: above `after`, at most `fits`."""
        low = max(after, start + int((fits - start) * _FILLED))
        while True:
            end = self._boundary(low, fits) or self._between(after, fits)
            # Fewer characters hardly ever are more tokens, but a chunk must never be too long.
            if end <= after + 1 or self._count(self._text[start:end]) <= self._limit:
                return end
            fits = end - 1

    def _boundary(self, low: int, high: int, *, first: bool = False) -> int | None:
        """Find the last, or first, boundary of the best kind with low < place <= high."""
        for pattern in _BOUNDARIES:
            found = None
            # A boundary that ends in the window may begin before it.
            for match in pattern.finditer(self._text, max(0, low - 16), high):
                if low < match.end():
                    found = match.end()
                    if first:
                        break
            if found:
                return found
        return None

    def _between(self, after: int, end: int) -> int:
        """Move a cut before the character that marks and joiners belong to."""
        text, place = self._text, end
        while place > after + 1 and end - place < 32 and _belongs(text[place - 1], text[place]):
            place -= 1
        return place if end - place < 32 else end

    def _search(
        self, longest: int, guess: int, limit: int, piece: Callable[[int], str], least: int = 1
    ) -> int:
        """Find about the greatest length, at most `longest`, whose piece is within the limit."""
        fits, over = 0, longest + 1
        length = guess
        while over - fits > 1 + fits // 64:
            length = min(max(length, fits + 1), over - 1)
            tokens = self._count(piece(length))
            if tokens <= limit:
                fits = length
                if tokens >= limit * _GOOD:
                    break
            else:
                over = length
            own = max(tokens - self._around, 1)
            target = int(length / own * (limit - self._around) * (1 + _GOOD) / 2)
            length = target if fits < target < over else (fits + over) // 2
        if fits < min(least, longest):
            raise TextError(f"has a character that alone is above {limit:,} tokens")
        if fits:
            self._characters = fits / max(self._count(piece(fits)) - self._around, 1)
        return fits


def _belongs(before: str, after: str) -> bool:
    """Whether two neighbours make one character for a reader."""
    return (
        bool(unicodedata.combining(after))
        or unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\u200d" in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or (before == "\r" and after == "\n")
    )
