"""The child process that reads the text of HTML pages."""

from __future__ import annotations

import re
from html import escape

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from jlocal.errors import TextError
from jlocal.inputs.html_encoding import decode
from jlocal.inputs.serve import serve

# A parsed page takes up to a hundred times its size in memory.
_MAX_PAGE = 16 << 20
# Without an end tag, an HTML parser takes what follows for the content of these elements.
_EMPTY_IN_XML = re.compile(
    r"<(script|style|title|textarea|noscript|iframe)\b([^<>]*)/>", re.IGNORECASE
)
# Nested lists are indented further at each level, so a short page could become a huge text.
_INDENTED = re.compile(r"(?m)^( {40}) +")
# Headings are marked with two noncharacters, which the extraction keeps.
_OPENS, _CLOSES = "\ufdd0", "\ufdd1"
_HEADING = re.compile(rf"{_OPENS}([1-6])[ \t]*([^{_OPENS}{_CLOSES}]*?)[ \t]*{_CLOSES}")
_MARK = re.compile(rf"{_OPENS}[1-6]|[{_OPENS}{_CLOSES}]")
# Characters that text does not contain, and binary files do.
_UNDECODABLE = re.compile("[\0-\x08\x0e-\x1f\x7f\ufffd]")


# (start, end, level) of a heading in the text, with level 0 for the title of the page.
Headings = list[tuple[int, int, int]]


def read(data: bytes) -> tuple[str, Headings]:
    """Return the text of a page and its headings.

    The text is the page's title, then all of its text, including navigation. Scripts, styles,
    templates and comments are left out. Paragraphs, lists, cells of tables and preformatted text
    stay separate.

    Raises:
        TextError: the page has no text, is too large, or is not text.

    """
    source = decode(data)
    if len(source) > _MAX_PAGE:
        raise TextError(f"a page of more than {_MAX_PAGE >> 20} million characters; split it")
    if source.lstrip().startswith("<?xml"):
        source = _as_html(source)
    tree = HTMLTree.parse(source.replace("\0", "\ufffd"))
    title = " ".join((tree.title or "").split())
    _mark_headings(tree)
    marked = extract_plain_text(tree, main_content=False, form_fields=True).strip()
    text, headings = _extract_headings(_INDENTED.sub(r"\1", marked))
    if title and not text.startswith(title):
        before = len(title) + 2
        text = f"{title}\n\n{text}".rstrip()
        headings = [
            (0, len(title), 0),
            *((start + before, end + before, level) for start, end, level in headings),
        ]
    if not text:
        raise TextError("no text in it; a script may write what a browser shows")
    bad = len(_UNDECODABLE.findall(text))
    if bad > 1 and bad > len(text) // 10:
        raise TextError("not text: much of it cannot be decoded")
    return text, headings


def _mark_headings(tree: HTMLTree) -> None:
    if tree.body is None:
        return
    for heading in list(tree.body.query_selector_all("h1, h2, h3, h4, h5, h6")):
        first, level = heading.first_child, (heading.tag or "h1")[1]
        opens, closes = tree.create_text_node(_OPENS + level), tree.create_text_node(_CLOSES)
        is_shown = (heading.text or "").strip() or heading.query_selector("img")
        if first and opens and closes and is_shown:
            heading.insert_before(opens, first)
            heading.append_child(closes)


def _extract_headings(marked: str) -> tuple[str, Headings]:
    """Remove the marks; return the text and the headings that were between them."""
    pieces: list[str] = []
    headings: Headings = []
    length = read = 0
    for match in _HEADING.finditer(marked):
        before, title = _MARK.sub("", marked[read : match.start()]), match[2]
        start = length + len(before)
        length = start + len(title)
        pieces += [before, title]
        headings.append((start, length, int(match[1])))
        read = match.end()
    return "".join([*pieces, _MARK.sub("", marked[read:])]), headings


def _as_html(source: str) -> str:
    """Rewrite XML syntax in which an HTML parser would lose text."""
    first, *others = _EMPTY_IN_XML.sub(r"<\1\2></\1>", source).split("<![CDATA[")
    pieces = [first]
    for other in others:
        verbatim, _, after = other.partition("]]>")
        pieces += [escape(verbatim, quote=False), after]
    return "".join(pieces)


if __name__ == "__main__":
    serve(lambda data: dict(zip(("text", "headings"), read(data), strict=True)))
