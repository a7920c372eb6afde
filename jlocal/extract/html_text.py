"""The child that reads HTML pages: bytes of a page in, what it shows out."""

from __future__ import annotations

import re
from html import escape

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from jlocal.errors import TextError
from jlocal.extract.encoding import decode
from jlocal.extract.serve import serve

# A parsed page takes up to a hundred times its size in memory.
_LARGEST_PAGE = 16 << 20
# To an HTML parser these swallow what follows, unless there is an end tag.
_EMPTY_IN_XML = re.compile(
    r"<(script|style|title|textarea|noscript|iframe)\b([^<>]*)/>", re.IGNORECASE
)
# Lists in lists are indented more and more; a short page of them would be a text without end.
_INDENTED = re.compile(r"(?m)^( {40}) +")
# What text does not contain, and files that are something else do.
_UNDECODABLE = re.compile("[\0-\x08\x0e-\x1f\x7f\ufffd]")


def read(data: bytes) -> str:
    """Return what a page shows: its title, then all of its text, navigation included.

    Left out are scripts, styles, templates and comments. Paragraphs, lists, cells of tables and
    preformatted text stay apart.

    Raises:
        TextError: there is no text in it, it is too large, or it is something else than text.

    """
    source = decode(data)
    if len(source) > _LARGEST_PAGE:
        raise TextError(f"a page larger than {_LARGEST_PAGE >> 20} Mi characters; split it")
    if source.lstrip().startswith("<?xml"):
        source = _as_html(source)
    tree = HTMLTree.parse(source.replace("\0", "\ufffd"))
    text = extract_plain_text(tree, main_content=False, form_fields=True).strip()
    text = _INDENTED.sub(r"\1", text)
    title = " ".join((tree.title or "").split())
    if title and not text.startswith(title):
        text = f"{title}\n\n{text}".rstrip()
    if not text:
        raise TextError("no text in it; a script may write what a browser shows")
    bad = len(_UNDECODABLE.findall(text))
    if bad > 1 and bad > len(text) // 10:
        raise TextError("not text: much of it cannot be decoded")
    return text


def _as_html(source: str) -> str:
    """Rewrite what XML alone allows, and what an HTML parser would lose text over."""
    first, *others = _EMPTY_IN_XML.sub(r"<\1\2></\1>", source).split("<![CDATA[")
    pieces = [first]
    for other in others:
        verbatim, _, after = other.partition("]]>")
        pieces += [escape(verbatim, quote=False), after]
    return "".join(pieces)


if __name__ == "__main__":
    serve(lambda data: {"text": read(data)})
