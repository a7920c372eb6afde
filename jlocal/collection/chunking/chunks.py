"""Split long texts into chunks, measured in the model's tokens, at natural boundaries."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from jlocal.collection.chunking.headings import Outline, embedded, front_matter
from jlocal.errors import ArgumentError, TextError
from jlocal.terms import Argument

# Where to cut, best first: each pattern ends where a new chunk may begin.
_LINE, _WORD = re.compile(r"\n"), re.compile(r"\s+")
_NOT_SPACE = re.compile(r"\S")
_BOUNDARIES = (
    re.compile(r"\n[ \t\r]*\n\s*(?<=\n)(?=\S)"),  # after blank lines, before an unindented line
    re.compile(r"\n[ \t\r]*\n\s*(?<=\n)"),
    re.compile(r"\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])"),  # before an item of a list
    re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？｡][」』”’）]*|[।؟۔።។]\s*"),  # after a sentence
    _LINE,
    _WORD,
)
# A chunk fills at least the first part of its room; to keep code whole, at least the second.
_FILLED = (0.5, 0.25)
# A remainder below this part of a chunk does not become a separate chunk.
_REST = 0.25
# The part of the limit that headings may take.
_HEADINGS = 0.25
# The search for the longest piece ends at the first part of the limit, and aims at the second.
_GOOD, _AIM = 0.9, 0.95
_SMALLEST = 16

CountTokens = Callable[[str], int]

_NO_OUTLINE = Outline()


@dataclass(frozen=True)
class Chunk:
    """A piece of a text.

    Attributes:
        start: where it begins, in characters from the start of the text.
        end: where it ends.
        first_line: the line of its first character, from 1.
        last_line: the line of its last character that is not white space.
        text: the piece, without the white space at its end.
        heading: the titles of the headings above all of it, outermost first, one per line.

    """

    start: int
    end: int
    first_line: int
    last_line: int
    text: str
    heading: str = ""


def check_size(limit: int, overlap: int, count: CountTokens, context: int) -> None:
    """Raise ArgumentError unless texts can be split into chunks of this size."""
    smallest = count("") + _SMALLEST
    if not smallest <= limit <= context:
        chunk = Argument("chunk", limit)
        what = "small" if limit < smallest else "large"
        raise ArgumentError(
            f"{chunk} is too {what}: with this model a chunk has {smallest:,} to {context:,} "
            "tokens, those of the prompt included",
            chunk,
            argument="chunk",
        )
    if not 0 <= overlap <= limit // 2:
        argument = Argument("overlap", overlap)
        raise ArgumentError(
            f"{argument} is too large: it is at most half of a chunk, which has {limit:,} tokens",
            argument,
            argument="overlap",
        )


def whole(text: str, line: int = 1, outline: Outline = _NO_OUTLINE) -> Chunk:
    """Return a text as one chunk."""
    return _chunk(text, 0, len(text), line, "\n".join(outline.above(text, 0, len(text))))


def split(
    text: str,
    limit: int,
    overlap: int,
    count: CountTokens,
    line: int = 1,
    outline: Outline = _NO_OUTLINE,
    *,
    headings: bool = False,
) -> Iterator[Chunk]:
    """Split a text so that each chunk has at most `limit` tokens.

    Without overlap each chunk begins at the end of the last one, so that the slices `start:end`
    rebuild the text. A chunk ends at the best boundary in the second half of its room: before a
    heading, after a blank line, before an item of a list, at the end of a sentence, of a line, of a
    word, or else anywhere. A heading stays with the text below it, code and tables are split only
    as a last resort, and a short remainder does not become a separate chunk.

    Args:
        text: the text.
        limit: the most tokens in a chunk, as `count` counts them.
        overlap: the most tokens of a chunk's end that the next chunk repeats.
        count: counts the tokens that the model sees for a text, its prompt included.
        line: the number of the text's first line.
        outline: the headings and blocks of the text.
        headings: whether the model sees `headings.embedded` of a chunk; headings beyond a quarter
            of the limit are left out, the outermost first.

    Raises:
        TextError: a single character is above the limit.

    """
    ruler = _Ruler(text, limit, count, outline, headings=headings)
    start = end = 0
    while end < len(text):
        fits = ruler.longest(start)
        if fits <= end:
            # The overlap leaves no room for new text.
            line += text.count("\n", start, end)
            start = end
            fits = ruler.longest(start)
        end = ruler.section(start, fits, end) or (
            fits if fits == len(text) else ruler.cut(start, fits, after=end)
        )
        yield _chunk(text, start, end, line, ruler.heading(start, end))
        after = end if not overlap or end == len(text) else ruler.back(start, end, overlap)
        line += text.count("\n", start, after)
        start = after


def _chunk(text: str, start: int, end: int, line: int, heading: str) -> Chunk:
    piece = text[start:end].rstrip()
    return Chunk(start, end, line, line + piece.count("\n"), piece, heading)


class _Ruler:
    """Measures pieces of one text."""

    def __init__(
        self, text: str, limit: int, count: CountTokens, outline: Outline, *, headings: bool
    ) -> None:
        self._text, self._limit = text, limit
        # A piece is often measured again at once, and tokenising is slow.
        self._count = lru_cache(maxsize=8)(count)
        self._outline, self._headings = outline, headings
        self._around = count("")
        self._characters = 4.0  # for each token, as last seen
        self._bounded: dict[tuple[str, ...], str] = {}
        self._end = len(text.rstrip())
        front = front_matter(text) if headings else None
        # Embedded text begins here: a chunk of front matter alone would answer no query.
        self._body = front.end if front and front.end < self._end else 0
        # No cut is between `start` and `end` of these. A heading goes on until its text begins.
        glued = [
            (heading.start, self._after_space(heading.end) + 1) for heading in outline.headings
        ]
        self._whole = sorted([*outline.blocks, *glued])
        self._cuts = [start for start, _ in glued if not self._inside(start)]

    def heading(self, start: int, end: int) -> str:
        """Return the headings above a piece, as many as there is room for."""
        titles = self._outline.above(self._text, start, end)
        if titles not in self._bounded:
            fitting = titles
            while self._headings and fitting and self._own("\n".join(fitting)) > self._room:
                fitting = fitting[1:]
            self._bounded[titles] = "\n".join(fitting)
        return self._bounded[titles]

    def longest(self, start: int) -> int:
        """Find the end of about the longest piece from `start` within the limit."""
        body = max(start, self._body)
        size = int(self._limit * self._characters * _AIM)
        return body + self._search(
            len(self._text) - body, size, self._limit, lambda n: self._seen(start, body + n)
        )

    def back(self, start: int, end: int, overlap: int) -> int:
        """Find the start of the overlap with the next chunk: after `start`, `end` at the latest.

        It is the first of the best boundaries, for the longest overlap; where a new heading begins
        at `end`, it is `end`.
        """
        at = bisect_left(self._cuts, end)
        if self._cuts[at : at + 1] == [end]:
            return end
        limit = self._around + overlap
        size = int(overlap * self._characters)
        length = self._search(
            end - start - 1, size, limit, lambda n: self._text[end - n : end], least=0
        )
        last = len(self._text[start:end].rstrip()) + start - 1
        low = end - length - 1
        return (
            self._boundary(low, last, first=True)
            or self._boundary(low, last, first=True, anywhere=True)
            or end - length
        )

    def section(self, start: int, fits: int, after: int) -> int | None:
        """Find the first heading in a piece from `start` that leaves enough before and after it."""
        body = max(start, self._body)
        enough = int(self._limit * self._characters * _REST)
        at = bisect_left(self._cuts, max(after + 1, body + enough))
        for end in self._cuts[at : at + 1]:
            if end <= min(fits, self._end - enough) and self._fits(start, end):
                return end
        return None

    def cut(self, start: int, fits: int, after: int) -> int:
        """Find the best end of a piece from `start`: above `after`, at most `fits`."""
        body = max(start, self._body)
        if 0 < self._end - fits < (fits - body) * _REST:
            # Share the remainder between this chunk and the next.
            fits = max(after + 1, body + int((self._end - body) * (1 - _REST)))
        while True:
            end = self._best(body, after, fits) or self._between(after, fits)
            # Fewer characters are rarely more tokens, but a chunk must never be too long.
            if end <= after + 1 or self._fits(start, end):
                return end
            fits = end - 1

    def _best(self, body: int, after: int, fits: int) -> int | None:
        """Find the best boundary; prefer a shorter chunk to a cut through code or a table."""
        half, quarter = (max(after, body + int((fits - body) * part)) for part in _FILLED)
        return (
            self._boundary(half, fits)
            or self._boundary(quarter, half)
            or self._boundary(half, fits, anywhere=True)
        )

    @property
    def _room(self) -> int:
        return int(self._limit * _HEADINGS)

    def _own(self, text: str) -> int:
        return self._count(text) - self._around

    def _seen(self, start: int, end: int) -> str:
        """Return the text of a piece for the model: under its heading, if headings are embedded."""
        piece = self._text[start:end]
        return embedded(self.heading(start, end), piece) if self._headings else piece

    def _fits(self, start: int, end: int) -> bool:
        return self._count(self._seen(start, end)) <= self._limit

    def _after_space(self, place: int) -> int:
        match = _NOT_SPACE.search(self._text, place)
        return match.start() if match else len(self._text)

    def _inside(self, place: int) -> tuple[int, int] | None:
        """Return the part that a cut at this place would go through."""
        before = bisect_left(self._whole, (place, 0)) - 1
        if before >= 0 and self._whole[before][0] < place < self._whole[before][1]:
            return self._whole[before]
        return None

    def _boundary(
        self, low: int, high: int, *, first: bool = False, anywhere: bool = False
    ) -> int | None:
        """Find the last, or first, boundary of the best kind with low < place <= high.

        Unless `anywhere` is true, it is never in code, a table or front matter, nor after a
        heading.
        """
        at = bisect_left(self._cuts, low + 1)
        if cuts := self._cuts[at : bisect_left(self._cuts, high + 1)]:
            return cuts[0 if first else -1]
        for pattern in (_LINE, _WORD) if anywhere else _BOUNDARIES:
            for place in self._places(pattern, low, high, first=first):
                if anywhere or not self._inside(place):
                    return place
        return None

    def _places(
        self, pattern: re.Pattern[str], low: int, high: int, *, first: bool
    ) -> Iterator[int]:
        # A boundary that ends in the window may begin before it.
        ends = (match.end() for match in pattern.finditer(self._text, max(0, low - 16), high))
        places = (end for end in ends if low < end)
        return places if first else reversed(list(places))

    def _between(self, after: int, end: int) -> int:
        """Move a cut before the character that marks and joiners belong to."""
        text, place = self._text, end
        while place > after + 1 and end - place < 32 and _belongs(text[place - 1], text[place]):
            place -= 1
        return place if end - place < 32 else end

    def _search(
        self, longest: int, guess: int, limit: int, piece: Callable[[int], str], least: int = 1
    ) -> int:
        """Find about the greatest length, at most `longest`, of a piece within the limit."""
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
            target = int(length / own * (limit - self._around) * _AIM)
            length = target if fits < target < over else (fits + over) // 2
        if fits < min(least, longest):
            raise TextError(f"has a character that alone is above {limit:,} tokens")
        if fits:
            self._characters = fits / max(self._count(piece(fits)) - self._around, 1)
        return fits


def _belongs(before: str, after: str) -> bool:
    """Tell whether two neighbours belong to the same grapheme."""
    return (
        bool(unicodedata.combining(after))
        or unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\u200d" in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or (before == "\r" and after == "\n")
    )
