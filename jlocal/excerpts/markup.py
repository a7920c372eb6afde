"""Remove the markup of a passage: its paragraphs and lines as a reader sees them."""

from __future__ import annotations

import functools
import html
import itertools
import re
from dataclasses import dataclass

from jlocal.excerpts.columns import width
from jlocal.excerpts.terms import MARKS, is_plain
from jlocal.printable import printable

# Lines of at most so many columns are lines that somebody meant: a poem, an address. In a
# paragraph with longer ones, a line ends because the next word had no room.
_SHORT = 50
_FRONT_MATTER = re.compile(
    r"\A\s*(---|\+\+\+)[ \t]*\n(.*?)(?:\n(?:---|\+\+\+|\.\.\.)[ \t]*(?:\n|\Z)|\Z)", re.S
)
_FIELDS = re.compile(r"(?:(?:[\w-]+[ \t]*[:=]|[ \t]+\S|[-#\]}]).*(?:\n|\Z))+")
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(.+)$", re.M | re.I)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]+|$)(.*?)[ \t#]*$")
_ITEM = re.compile(r"([ \t]*)((?:[-*+•]|\d{1,4}[.)])[ \t]+)(.*)$")
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?)+")
# Rulers, underlines of headings, and the second line of a table.
_RULER = re.compile(
    r"[ \t]*(?:[-=_*~+#]{3,}|[-*_=](?:[ \t]+[-*_=]){2,}|[|+]?[ \t]*[:=-]{2,}[-:=|+ \t]*"
    r"|[\u2500-\u257f \t]+)[ \t]*$"
)
_PIPE = re.compile("[|│┃║]")
_DEFINITION = re.compile(r" {0,3}\[[^\]\n]{1,200}\]:[ \t]*\S")
_TAG = re.compile(
    r"</?(?:a|abbr|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|col|dd"
    r"|del|details|dfn|div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html"
    r"|i|iframe|img|input|ins|kbd|label|li|link|main|mark|meta|nav|ol|option|p|picture|pre|q|s"
    r"|samp|script|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|table"
    r"|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|var|video|wbr)(?:\s*/?|\s[^<>]{0,2000}=[^<>]{0,2000})>",
    re.I,
)
_INLINE = (
    (re.compile(r"!?\[([^\[\]]{0,500})\]\((?:[^()\n]|\([^()\n]*\)){0,2000}\)"), r"\1"),
    (re.compile(r"!?\[\[(?:[^\[\]|]{1,300}\|)?([^\[\]|]{1,300})\]\]"), r"\1"),
    (re.compile(r"\[\^[^\[\]\s]{1,100}\]"), ""),
    (re.compile(r"!?\[([^\[\]]{1,500})\]\[[^\[\]]{0,200}\]"), r"\1"),
    (re.compile(r"<((?:https?|ftp|mailto):[^<>\s]{1,2000})>"), r"\1"),
    (re.compile(r"(?<![0-9A-Za-z*])(\*)(?=[^\s*])([^*\n]{1,1000})(?<=[^\s*])\1(?!\*)"), r"\2"),
    (re.compile(r"(\*{2,3})(?=[^\s*])([^*\n]{1,1000})(?<=[^\s*])\1(?!\*)"), r"\2"),
    (re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])([^\n]{1,500}?)(?<=[^\s_])\1(?!\w)"), r"\2"),
    (re.compile(r"~~(?=\S)([^~\n]{1,1000})~~"), r"\1"),
    (re.compile(r"==(?=\S)([^=\n]{1,1000})=="), r"\1"),
    (re.compile(r"(`{1,2})(?!`)([^`\n]{1,1000})\1(?!`)"), r"\2"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|~<>-])"), r"\1"),
)
# Invisible characters: marks of direction, soft hyphens, byte order marks.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)


@dataclass(frozen=True)
class Block:
    """A paragraph, or a separate line.

    Attributes:
        text: one line of text.
        flows: whether its sentences may be broken into lines anywhere.

    """

    text: str
    flows: bool


def blocks(text: str, headings: tuple[str, ...] = (), *, in_code: bool = False) -> list[Block]:
    """Read prose that may be Markdown, without its marks.

    Args:
        text: a passage.
        headings: the headings shown above it, which are left out.
        in_code: whether the text begins between the fences of code.

    """
    return _Reader(headings, in_code=in_code).read(text)


def verbatim(text: str) -> list[Block]:
    """Read a program or data, whose lines stay as they are."""
    lines = [_clean(line.expandtabs(4)).rstrip() for line in text.splitlines()]
    indent = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    return [Block(line[indent:], flows=False) for line in lines if line]


class _Reader:
    def __init__(self, headings: tuple[str, ...], *, in_code: bool) -> None:
        self._headings = {_key(heading) for heading in headings}
        self._code: list[str] | None = [] if in_code else None
        self._paragraph: list[str] = []
        self._in_table = False
        self._blocks: list[Block] = []

    def read(self, text: str) -> list[Block]:
        fields: list[str] = []
        if (
            self._code is None
            and (matter := _FRONT_MATTER.match(text))
            and _FIELDS.fullmatch(matter[2])
        ):
            fields = [matter[2]]
            text = text[matter.end() :]
        for line in _COMMENT.sub(" ", text).splitlines():
            self._line(line)
        self._end_code()
        self._end_paragraph()
        if fields:
            self._blocks[:0] = self._title(fields[0])
        return self._blocks

    def _title(self, matter: str) -> list[Block]:
        """Keep the title of front matter or, in a passage that is nothing else, its fields."""
        title = _TITLE.search(matter)
        if title and _key(title[1].strip("\"'")) not in self._headings:
            return [Block(_clean(title[1].strip().strip("\"'")), flows=False)]
        return [] if self._blocks else verbatim(matter)

    def _line(self, line: str) -> None:
        if self._code is not None:
            if _FENCE.match(line):
                self._end_code()
            else:
                self._code.append(line)
            return
        line = _QUOTE.sub("", line, count=1) if line.lstrip()[:1] == ">" else line
        is_row = self._in_table or _PIPE.match(line.lstrip())
        if line.strip() and not (is_row or _begins_block(line)):
            self._paragraph.append(line)
        elif _RULER.match(line):
            self._ruler(line)
        else:
            self._end_paragraph()
            self._in_table = self._in_table and bool(line.strip())
            if _FENCE.match(line):
                self._code = []
            elif is_row:
                self._row(line)
            elif heading := _HEADING.match(line):
                if _key(heading[1]) not in self._headings:
                    self._add(heading[1], flows=False)
            elif item := _ITEM.match(line):
                indent = min(len(item[1].expandtabs(4)) // 2, 4)
                self._paragraph = ["  " * indent + item[2].replace("\t", " ") + item[3]]

    def _ruler(self, line: str) -> None:
        if not self._in_table and self._paragraph and _PIPE.search(line):
            # Below the first row of a table without a frame.
            row = self._paragraph.pop()
            self._end_paragraph()
            self._row(row)
            self._in_table = True
        self._end_paragraph()

    def _row(self, line: str) -> None:
        cells = [_inline(cell.strip()) for cell in _PIPE.split(line)]
        self._add(" · ".join(cell for cell in cells if cell), flows=False)

    def _end_code(self) -> None:
        if self._code is not None:
            self._blocks += verbatim("\n".join(self._code))
            self._code = None

    def _end_paragraph(self) -> None:
        lines, self._paragraph = self._paragraph, []
        if not lines:
            return
        if len(lines) == 1 and _key(lines[0]) in self._headings:
            return  # one that is underlined
        for text in _joined(lines):
            self._add(_inline(text), flows=True)

    def _add(self, text: str, *, flows: bool) -> None:
        text = _clean(_inline(text) if not flows else text).rstrip()
        if text.strip():
            self._blocks.append(Block(text, flows))


def _begins_block(line: str) -> bool:
    """Tell whether a line does not continue the paragraph before it."""
    return any(
        pattern.match(line) for pattern in (_RULER, _FENCE, _HEADING, _ITEM, _DEFINITION)
    ) and not line.lstrip().startswith("[^")


def _joined(lines: list[str]) -> list[str]:
    """Join the lines of a paragraph that were broken only because they were full."""
    widest = max(width(printable(line.strip())) for line in lines)
    texts = [lines[0].rstrip() if _ITEM.match(lines[0]) else lines[0].strip()]
    for before, line in itertools.pairwise(lines):
        next_word = line.strip().split(" ", 1)[0]
        used = width(printable(before.strip()))
        is_meant = before.endswith(("  ", "\\")) or (
            used + 1 + width(printable(next_word)) <= widest and before.rstrip()[-1:] not in ".!?。"
        )
        if widest < _SHORT or is_meant:
            texts.append(line.strip())
        else:
            texts[-1] += _glue(texts[-1], line.strip()) + line.strip()
    return texts


def _glue(before: str, after: str) -> str:
    """Return the separator of two joined lines: no space between Han or kana."""
    wide = "\u2e80" <= before[-1:] <= "\uabff" or "\uff00" <= before[-1:] <= "\uffef"
    return "" if wide and "\u2e80" <= after[:1] <= "\uffef" else " "


def _inline(text: str) -> str:
    """Remove the marks of a line of Markdown."""
    text = _TAG.sub("", text)
    if "&" in text:
        text = html.unescape(text)
    if re.search(r"[\[\]*_~=`<\\]", text):
        for pattern, replacement in _INLINE:
            text = pattern.sub(replacement, text)
    return text


def _clean(text: str) -> str:
    """Return a line that a terminal shows as it is."""
    text = _INVISIBLE.sub("", text)
    if not is_plain(text):
        text = _pile_of_marks().sub(r"\1", text)
    return printable(text.expandtabs(4))


@functools.cache
def _pile_of_marks() -> re.Pattern[str]:
    return re.compile(f"([{MARKS}]{{5}})[{MARKS}]+")


def _key(heading: str) -> str:
    return " ".join(_inline(heading).split()).strip("# ").casefold()
