"""The headings above a piece of a text."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

_LONGEST_TITLE, _LONGEST_PATH = 100, 300
_READ_OF_LINE = 400

_FRONT_MATTER = re.compile(
    r"\A(?P<fence>---|\+\+\+)[ \t]*\r?\n"
    r"(?:[\w\"'][^:=\n]*[:=][^\n]*\n|[ \t]+\S[^\n]*\n|[-\[\]{}#][^\n]*\n|[ \t\r]*\n){0,200}?"
    r"(?:(?P=fence)|\.\.\.)[ \t]*\r?(?:\n|\Z)"
)
_FRONT_TITLE = re.compile(r"(?mi)^title[ \t]*[:=][ \t]*([^\s|>][^\n]*)")

# Marks around the words of a heading, in any of the markups.
_MARKS = (
    (re.compile(r"^\s*(?:#{1,6}|\*+|=+)[ \t]+"), ""),
    (re.compile(r"^\s*\\[a-z]+\*?(?:\[[^\]\n]*\])?\{([^\n]*?)\}.*"), r"\1"),  # of LaTeX
    (re.compile(r"(?:[ \t]+(?:#+|=+|\{[#.:][^}\n]*\}))+[ \t\r]*$"), ""),
    (re.compile(r"!?\[([^\[\]\n]*)\]\([^()\n]*\)"), r"\1"),  # [words](address)
    (re.compile(r"\[\[(?:[^\[\]|\n]*(?:\||\]\[))?([^\[\]\n]+)\]\]"), r"\1"),  # [[page|words]]
    (re.compile(r"(\*{1,3}|__|`+|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
)


@dataclass(frozen=True)
class Heading:
    """A heading of a text.

    Attributes:
        start: where it begins, in characters from the start of the text.
        end: where it ends, its underline included.
        level: 1 for the outermost; 0 for the title of the whole text.
        title: its words, without marks, on one line.

    """

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True)
class Outline:
    """The headings and blocks of a text, in the order of the text.

    Attributes:
        headings: its headings.
        blocks: (start, end) of front matter, code and tables, which are kept whole where possible.

    """

    headings: Sequence[Heading] = ()
    blocks: Sequence[tuple[int, int]] = ()

    @cached_property
    def _starts(self) -> list[int]:
        return [heading.start for heading in self.headings]

    @cached_property
    def _paths(self) -> list[tuple[Heading, ...]]:
        """The path of each heading, itself included; the first path is that of no heading."""
        paths: list[tuple[Heading, ...]] = [()]
        for heading in self.headings:
            paths.append((*_outside(paths[-1], heading), heading))
        return paths

    def above(self, text: str, start: int, end: int) -> tuple[str, ...]:
        """Return the titles of the headings above all of `text[start:end]`, outermost first.

        Headings at the start of the piece are included, later ones are not.
        """
        first = bisect_left(self._starts, start)
        path, read, begins = self._paths[first], start, True
        for heading in self.headings[first : bisect_left(self._starts, end)]:
            path = _outside(path, heading)
            begins = begins and not text[read : heading.start].strip()
            if begins:
                path, read = (*path, heading), heading.end
        titles = list(dict.fromkeys(heading.title for heading in path))
        while sum(map(len, titles)) > _LONGEST_PATH:
            del titles[0]
        return tuple(titles)


def _outside(path: tuple[Heading, ...], heading: Heading) -> tuple[Heading, ...]:
    return tuple(outer for outer in path if outer.level < heading.level)


def title_of(line: str) -> str:
    """Return the words of a heading's line, at most 100 characters of them."""
    return _title(line[:_READ_OF_LINE])


@lru_cache(maxsize=1024)
def _title(line: str) -> str:
    for pattern, words in _MARKS:
        line = pattern.sub(words, line)
    title = " ".join(line.split())
    if len(title) <= _LONGEST_TITLE:
        return title
    return f"{title[: _LONGEST_TITLE - 1].rstrip()}…"


def front_matter(text: str) -> Heading | None:
    """Return the front matter that a text begins with; its title may be empty."""
    block = _FRONT_MATTER.match(text)
    if block is None:
        return None
    title = _FRONT_TITLE.search(block[0])
    return Heading(0, block.end(), 0, title_of(title[1].strip("\"' \t\r")) if title else "")


def embedded(heading: str, text: str) -> str:
    """Return the text to embed for a passage: its headings, each once, and its text.

    Front matter is left out, unless the passage has no other text.

    Args:
        heading: the headings above it, one per line.
        text: the passage, which may begin with some of them.

    """
    front = front_matter(text)
    if front and text[front.end :].strip():
        text = text[front.end :].lstrip("\r\n")
    if not heading:
        return text
    titles = heading.split("\n")
    # A heading may have lines of marks around it.
    first = [title_of(line) for line in text.split("\n", 4 * len(titles))[: 4 * len(titles)]]
    return "".join(f"{title}\n" for title in titles if title not in first) + text
