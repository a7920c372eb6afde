"""Headings and blocks of Markdown, Org, reStructuredText and other plain text with markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath

from jlocal.collection.chunking.headings import Heading, Outline, front_matter, title_of

# A parser yields these in the order of the text.
_Parts = Iterator["Heading | tuple[int, int]"]

_MARKDOWN = re.compile(
    r"(?m)^(?:"
    r"[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*$"
    r"|[ ]{0,3}(?P<marks>\#{1,6})[ \t]+(?P<title>\S[^\n]*)$"
    r"|(?:(?<=\n\n)|(?<=\n\r\n)|(?<![\s\S]))"
    r"[ ]{0,3}(?![-+*>|\#=][ \t\-=|])(?P<over>\S[^\n]*)\n(?P<under>={3,}|-{3,})[ \t\r]*$"
    r"|(?P<table>[ ]{0,3}\|[^\n]*(?:\n[ ]{0,3}\|[^\n]*)+)"
    r")"
)
_ORG = re.compile(
    r"(?mi)^(?:"
    r"[ \t]*\#\+begin_(?P<block>\w+)[^\n]*$"
    r"|\#\+title:[ \t]*(?P<text>\S[^\n]*)$"
    r"|(?P<marks>\*+)[ \t]+(?P<title>\S[^\n]*)$"
    r"|(?P<table>[ \t]*\|[^\n]*(?:\n[ \t]*\|[^\n]*)+)"
    r")"
)
_RST = re.compile(
    r"(?m)^(?:(?P<over>([=\-`:'\"~^_*+\#<>.])\2{2,})[ \t\r]*\n)?"
    r"[ ]?(?P<title>[^\s=\-`~^*+\#.][^\n]*)\n(?P<under>([=\-`:'\"~^_*+\#<>])\5{2,})[ \t\r]*$"
)
# AsciiDoc, Typst, and the markup of wikis.
_EQUALS = re.compile(
    r"(?m)^(?:(?P<fence>-{4,}|\.{4,}|`{3,})[^\n]*$|(?P<marks>={1,6})[ \t]*(?P<title>[^\s=][^\n]*)$)"
)
_LATEX = re.compile(
    r"(?m)^[ \t]*\\(?P<kind>part|chapter|(?:sub){0,2}section)\*?(?:\[[^\]\n]*\])?\{[^\n]*$"
)
_LATEX_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection")


def outline_of(
    text: str, path: str | PurePath, headings: Iterable[tuple[int, int, int]] = ()
) -> Outline:
    """Find the headings and blocks of a text; the file's name tells the markup.

    Comments in scripts and settings are not headings: other kinds of files have no headings.

    Args:
        text: the text.
        path: the name of its file.
        headings: (start, end, level) of headings that are already known.

    """
    if headings:
        places = sorted(place for place in headings if 0 <= place[0] < place[1] <= len(text))
        outline = (Heading(s, e, level, title_of(text[s:e])) for s, e, level in places)
        return Outline([heading for heading in outline if heading.title])
    read = _READERS.get(PurePath(path).suffix.lower())
    if read is None or text.startswith("#!"):
        return Outline()
    return _outline(text, read)


def _outline(text: str, read: Callable[[str, int], _Parts]) -> Outline:
    found, blocks = [], []
    front = front_matter(text)
    if front:
        blocks.append((front.start, front.end))
        found.append(front)
    for part in read(text, front.end if front else 0):
        if isinstance(part, Heading):
            found.append(part)
        else:
            blocks.append(part)
    return Outline([heading for heading in found if heading.title], blocks)


def _markdown(text: str, start: int) -> _Parts:
    while match := _MARKDOWN.search(text, start):
        start = match.end()
        if match["fence"]:
            start = _end_of_fence(text, match["fence"], start)
            yield match.start(), start
        elif match["table"]:
            yield match.span()
        elif match["marks"]:
            yield _heading(match, len(match["marks"]), match["title"])
        elif not _is_sentence(match["over"]):
            yield _heading(match, 1 if match["under"][0] == "=" else 2, match["over"])


def _text(text: str, start: int) -> _Parts:
    """Read text that may be Markdown: there `#` may also begin a comment."""
    for part in _markdown(text, start):
        if isinstance(part, Heading) and text[part.start] == "#":
            at_start = text.endswith(("\n\n", "\n\r\n"), max(start, part.start - 3), part.start)
            if not (at_start or part.start == start) or text.startswith("#", part.end + 1):
                continue
        yield part


def _end_of_fence(text: str, fence: str, start: int) -> int:
    end = re.compile(rf"(?m)^[ \t]*{re.escape(fence)}{re.escape(fence[0])}*[ \t\r]*$")
    match = end.search(text, start)
    return match.end() if match else len(text)


def _is_sentence(line: str) -> bool:
    """Tell whether a line above dashes is a paragraph, and the dashes are a rule."""
    return line.rstrip().endswith((".", ",", ";", "。"))


def _org(text: str, start: int) -> _Parts:
    while match := _ORG.search(text, start):
        start = match.end()
        if match["block"]:
            end = re.compile(rf"(?mi)^[ \t]*#\+end_{match['block']}[ \t\r]*$").search(text, start)
            start = end.end() if end else len(text)
            yield match.start(), start
        elif match["table"]:
            yield match.span()
        elif match["text"]:
            yield _heading(match, 0, match["text"])
        else:
            yield _heading(match, len(match["marks"]), match["title"])


def _rst(text: str, start: int) -> _Parts:
    styles: list[tuple[str, bool]] = []
    for match in _RST.finditer(text, start):
        over, title, under = match["over"], match["title"].rstrip(), match["under"]
        # An underline is as long as its title; wide characters have two columns.
        if len(under) < len(title) or (over and over != under):
            continue
        style = (under[0], bool(over))
        if style not in styles:
            styles.append(style)
        yield _heading(match, 1 + styles.index(style), title)


def _equals(text: str, start: int) -> _Parts:
    while match := _EQUALS.search(text, start):
        start = match.end()
        if match["fence"]:
            start = _end_of_fence(text, match["fence"], start)
            yield match.start(), start
        else:
            yield _heading(match, len(match["marks"]), match["title"])


def _latex(text: str, start: int) -> _Parts:
    for match in _LATEX.finditer(text, start):
        yield _heading(match, 1 + _LATEX_LEVELS.index(match["kind"]), match[0])


def _heading(found: re.Match[str], level: int, line: str) -> Heading:
    return Heading(found.start(), found.end(), level, title_of(line))


_READERS: dict[str, Callable[[str, int], _Parts]] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd"), _markdown),
    ".ipynb": _markdown,  # as the reader of notebooks returns them
    **dict.fromkeys((".txt", ".text"), _text),
    ".org": _org,
    **dict.fromkeys((".rst", ".rest"), _rst),
    **dict.fromkeys((".adoc", ".asciidoc", ".typ", ".wiki", ".mediawiki"), _equals),
    ".tex": _latex,
}
