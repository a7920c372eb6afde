"""Excerpts: the part of a passage that shows why it was found."""

from __future__ import annotations

import bisect
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jlocal.excerpts.columns import clipped, width, wrapped
from jlocal.excerpts.markup import Block, blocks, verbatim
from jlocal.excerpts.terms import Match, Terms

# Of a long passage only the part with the most words of the query is read as a person reads it.
_PART, _BEFORE = 3000, 400
# No passage is as long: a model's context has some 100,000 characters.
_LONGEST = 200_000
_SENTENCE = re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？｡][」』”’）]*|[।؟۔።។]\s*")
_CLAUSE = re.compile(r"[,;:–—]\s+|[、，；：]|\s+")


@dataclass(frozen=True)
class Piece:
    """A part of a line; `is_match` is true for a word of the query."""

    text: str
    is_match: bool = False


Line = tuple[Piece, ...]
# A paragraph, and where each of its lines begins and ends.
_Row = tuple[str, list[tuple[int, int]]]


@dataclass(frozen=True)
class _Unit:
    """A unit to show or leave out: a sentence, a part of a long sentence, or a line.

    Attributes:
        text: its characters, with the space at its end.
        paragraph: the number of its block.
        begins: whether a sentence or a line begins with it.
        terms: which words of the query it holds, and their weights.

    """

    text: str
    paragraph: int
    begins: bool
    terms: dict[str, float]


def excerpt(
    text: str,
    terms: Terms,
    columns: int,
    lines: int,
    *,
    headings: tuple[str, ...] = (),
    is_code: bool = False,
    ellipsis: str = "…",
) -> list[Line]:
    """Choose the sentences that best show why a passage was found.

    Sentences with the most words of the query are chosen first, then the sentences around them, as
    far as there is room. A passage without words of the query is shown from its beginning.

    Args:
        text: the passage.
        terms: the words of the query.
        columns: the width of a line.
        lines: the most lines.
        headings: the headings that are shown above the passage, and not repeated in it.
        is_code: whether the lines are a program's or data, and stay as they are.
        ellipsis: the mark in place of omitted text.

    Returns:
        Lines that hold nothing that a terminal would obey.

    """
    rows = _rows(text, terms, columns, lines, headings, is_code, ellipsis)
    return [marked(row[start:end], terms) for row, spans in rows for start, end in spans]


def paragraphs(
    text: str,
    terms: Terms,
    columns: int,
    lines: int,
    *,
    headings: tuple[str, ...] = (),
    is_code: bool = False,
) -> list[Line]:
    """Choose the same sentences as `excerpt`, for a page that breaks paragraphs into lines itself.

    Returns:
        Paragraphs, or lines that the author broke, which are as long as `lines` lines together.

    """
    rows = _rows(text, terms, columns, lines, headings, is_code, "…")
    return [marked(row, terms) for row, _ in rows]


def _rows(
    text: str,
    terms: Terms,
    columns: int,
    lines: int,
    headings: tuple[str, ...],
    is_code: bool,
    ellipsis: str,
) -> list[_Row]:
    """Choose sentences; return their paragraphs, each with the places of its lines."""
    if lines < 1 or columns < 1:
        return []
    text = text[:_LONGEST]
    start, end = _part(text, terms)
    piece = text[start:end]
    if is_code:
        parts = verbatim(piece)
    else:
        fences = text.count("\n```", 0, start) + text.startswith("```") if start else 0
        parts = blocks(piece, headings, in_code=fences % 2 == 1)
    units = _units(parts, terms, columns)
    is_cut = start > 0 and text[start - 1] != "\n"
    page = _Page(units, columns, lines, ellipsis, is_cut=(is_cut, end < len(text)))
    return page.rows(_choose(units, page))


def marked(text: str, terms: Terms) -> Line:
    """Split a printable line at the words of the query."""
    pieces, place = [], 0
    for match in terms.matches(text):
        if match.end <= place:
            continue
        start = max(match.start, place)
        if start > place:
            pieces.append(Piece(text[place:start]))
        if pieces and pieces[-1].is_match and start == place:
            pieces[-1] = Piece(pieces[-1].text + text[start : match.end], is_match=True)
        else:
            pieces.append(Piece(text[start : match.end], is_match=True))
        place = match.end
    if place < len(text):
        pieces.append(Piece(text[place:]))
    return tuple(pieces)


def _part(text: str, terms: Terms) -> tuple[int, int]:
    """Find the part of a long passage that holds the most words of the query."""
    if len(text) <= _PART:
        return 0, len(text)
    matches = terms.matches(text)
    first = _densest(matches, _PART - _BEFORE)
    if first is None or first.start <= _BEFORE:
        return 0, _PART
    start = first.start - _BEFORE
    line = text.find("\n", start, first.start)
    space = text.find(" ", start, first.start)
    start = max(line, space if line < 0 else -1, start - 1) + 1
    return start, min(len(text), start + _PART)


def _densest(matches: Sequence[Match], size: int) -> Match | None:
    """Find the first match of the window of `size` characters with the most words."""
    inside: Counter[str] = Counter()
    best, best_weight, weight, begin = None, 0.0, 0.0, 0
    for match in matches:
        weight += match.weight if not inside[match.term] else 0
        inside[match.term] += 1
        while match.end - matches[begin].start > size and matches[begin] is not match:
            dropped = matches[begin]
            inside[dropped.term] -= 1
            weight -= dropped.weight if not inside[dropped.term] else 0
            begin += 1
        if weight > best_weight + 1e-9:
            best, best_weight = matches[begin], weight
    return best


def _units(parts: Sequence[Block], terms: Terms, columns: int) -> list[_Unit]:
    units = []
    for number, block in enumerate(parts):
        ends = _ends(block, columns)
        matches = terms.matches(block.text)
        starts = [match.start for match in matches]
        for (start, begins), (end, _) in itertools.pairwise(ends):
            words: dict[str, float] = {}
            for match in matches[bisect.bisect_left(starts, start) :]:
                if match.start >= end:
                    break
                words[match.term] = max(match.weight, words.get(match.term, 0))
            units.append(_Unit(block.text[start:end], number, begins, words))
    return units


def _ends(block: Block, columns: int) -> list[tuple[int, bool]]:
    """List where the units of a block begin, and whether a sentence begins there; last, its end."""
    text = block.text
    starts = [0]
    if block.flows:
        starts += [match.end() for match in _SENTENCE.finditer(text) if match.end() < len(text)]
    places: list[tuple[int, bool]] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        places.append((start, True))
        while width(text[start:end]) > 2 * columns:
            # A sentence too long to be shown as a whole: about a line of it.
            fits = wrapped(text[start:end], columns, 1)[0][1] + start
            cuts = [m.end() for m in _CLAUSE.finditer(text, start, fits + 1) if m.end() < end]
            clauses = [cut for cut in cuts if cut > start + columns // 2]
            start = (clauses or [max(fits, start + 1)])[-1]
            places.append((start, False))
    return [*places, (len(text), True)]


def _choose(units: Sequence[_Unit], page: _Page) -> set[int]:
    """Choose the units with the most words of the query, then the units around them."""
    chosen: set[int] = set()
    covered: dict[str, float] = {}
    rest = [number for number, unit in enumerate(units) if unit.terms]
    seeds = []
    while rest:
        gains = {
            number: sum(
                max(0.0, weight - covered.get(term, 0))
                for term, weight in units[number].terms.items()
            )
            for number in rest
        }
        best = max(rest, key=lambda number: (round(gains[number], 6), -number))
        # Another sentence is worth a gap only for a word that is not shown yet.
        if gains[best] < (0.5 if chosen else 1e-9):
            break
        rest.remove(best)
        if not chosen or page.holds(chosen | {best}):
            chosen.add(best)
            seeds.append(best)
            for term, weight in units[best].terms.items():
                covered[term] = max(weight, covered.get(term, 0))
    if not chosen and units:
        chosen, seeds = {0}, [0]
    for step in (1, -1):
        _widen(seeds, step, chosen, page, len(units))
    after = max(chosen, default=0) + 1
    if after < len(units) and page.lines_used(chosen) < page.most:
        # A unit that does not fit as a whole still fills the last lines.
        chosen.add(after)
    return chosen


def _widen(seeds: list[int], step: int, chosen: set[int], page: _Page, count: int) -> None:
    """Add the units that follow, or stand before, each seed in turn, as far as there is room."""
    ends = list(seeds)
    while ends:
        still = []
        for end in ends:
            end += step
            if end in chosen or not 0 <= end < count or not page.holds(chosen | {end}):
                continue
            chosen.add(end)
            still.append(end)
        ends = still


class _Page:
    """Lays units out in lines."""

    def __init__(
        self,
        units: Sequence[_Unit],
        columns: int,
        lines: int,
        ellipsis: str,
        is_cut: tuple[bool, bool],
    ) -> None:
        self._units, self._columns, self.most, self._ellipsis = units, columns, lines, ellipsis
        self._is_cut = is_cut

    def holds(self, chosen: set[int]) -> bool:
        """Tell whether there is room for all of these units."""
        return self.lines_used(chosen) <= self.most

    def lines_used(self, chosen: set[int]) -> int:
        """Count the lines that these units take, up to the limit."""
        used = 0
        for row in self._rows(chosen):
            used += len(wrapped(row, self._columns, self.most + 1 - used))
        return used

    def rows(self, chosen: set[int]) -> list[_Row]:
        """Lay units out in rows, with an ellipsis for each gap; the last one may be cut."""
        rows: list[_Row] = []
        left = self.most
        is_whole = not self._is_cut[1] and len(self._units) - 1 in chosen
        for row in self._rows(chosen):
            spans = wrapped(row, self._columns, left)
            left -= len(spans)
            if spans:
                rows.append((row[: spans[-1][1]], spans))
            if not spans or spans[-1][1] < len(row.rstrip()):
                is_whole = False
                break
        if rows and not is_whole:
            row, spans = rows.pop()
            start, end = spans[-1]
            sign = f" {self._ellipsis}"
            line = clipped(row[start:end], self._columns - len(sign), "").rstrip() + sign
            row = row[:start] + line
            rows.append((row, [*spans[:-1], (start, len(row))]))
        return rows

    def _rows(self, chosen: set[int]) -> list[str]:
        """Put chosen units together: those of a paragraph, and those around a gap, in one row."""
        rows: list[str] = []
        before = None
        for number in sorted(chosen):
            unit = self._units[number]
            is_next = before == number - 1 if before is not None else number == 0
            gap = "" if is_next else self._ellipsis
            if before is None:
                is_inside = not unit.begins or (number == 0 and self._is_cut[0])
                rows.append((gap or self._ellipsis if is_inside else "") + unit.text)
            elif unit.paragraph == self._units[before].paragraph:
                rows[-1] = f"{rows[-1].rstrip()} {gap} {unit.text}" if gap else rows[-1] + unit.text
            else:
                rows[-1] = f"{rows[-1].rstrip()} {gap}".rstrip()
                rows.append(unit.text)
            before = number
        return rows
