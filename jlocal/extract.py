"""Text out of HTML pages and PDF files, which are hostile until they are read."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import PurePath

from jlocal.errors import ExtraError, TextError

# What stands between the pages of a PDF file's text, as it does in what other tools write.
PAGE_BREAK = "\f"

_KINDS = {".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf"}

# A parsed page takes up to a hundred times its size in memory.
_LARGEST_PAGE = 16 << 20
_DECLARED_WITHIN = 4096
_META = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([\w:.+-]+)", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml[^>]*?\bencoding\s*=\s*[\"']([\w:.+-]+)", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
# The web's names mean these supersets.
_SUPERSETS = {"shift_jis": "cp932", "euc_kr": "cp949", "gbk": "gb18030", "big5": "big5hkscs"}
# To an HTML parser these swallow what follows, unless there is an end tag.
_EMPTY_IN_XML = re.compile(
    r"<(script|style|title|textarea|noscript|iframe)\b([^<>]*)/>", re.IGNORECASE
)

# pypdf bounds what one stream, font or tree of a file may take. These are for the whole of it.
_SECONDS = 300
_MEMORY = 2 << 30
_CHARACTERS = 64 << 20
# What pypdf leaves out of a page it only says to its log.
_LOSSES = ("Exceeded ", "Impossible to decode ", "Error -")
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from jlocal.extract import serve_pdf; serve_pdf()"


def kind_of(path: str | PurePath) -> str:
    """Tell by its ending how a file's text is had: "html", "pdf", or "" where it is the text."""
    return _KINDS.get(PurePath(path).suffix.lower(), "")


def html_encoding(data: bytes) -> str:
    """Tell the encoding that a page declares, as Python calls it; UTF-8 where it declares none.

    Raises:
        TextError: there is no such encoding.
        ExtraError: resiliparse is not installed.

    """
    head = _COMMENT.sub(b"", data[:_DECLARED_WITHIN])
    declared = _META.search(head) or _XML.match(head)
    if not declared:
        return "utf-8"
    with _extra("html", "an HTML page"):
        from resiliparse.parse.encoding import map_encoding_to_html5
    label = declared[1].decode("ascii", "replace")
    name = map_encoding_to_html5(label, fallback_utf8=False)
    if name is None:
        raise TextError(f"it declares the encoding {label!r}, which is none that is known")
    # What is declared in bytes of ASCII cannot be UTF-16.
    return "utf-8" if name.startswith("utf-16") else _SUPERSETS.get(name, name)


def html_text(source: str) -> str:
    """Return what a page shows: its title, then all of its text, navigation included.

    Left out are scripts, styles, templates and comments. Paragraphs, lists, cells of tables and
    preformatted text stay apart.

    Args:
        source: HTML or XHTML.

    Raises:
        TextError: there is no text in it, or it is too large.
        ExtraError: resiliparse is not installed.

    """
    with _extra("html", "an HTML page"):
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.html import HTMLTree
    if len(source) > _LARGEST_PAGE:
        raise TextError(f"a page larger than {_LARGEST_PAGE >> 20} Mi characters; split it")
    if source.lstrip().startswith("<?xml"):
        source = _as_html(source)
    tree = HTMLTree.parse(source)
    text = extract_plain_text(tree, main_content=False, form_fields=True).strip()
    title = " ".join((tree.title or "").split())
    if title and not text.startswith(title):
        text = f"{title}\n\n{text}".rstrip()
    if not text:
        raise TextError("no text in it; a script may write what a browser shows")
    return text


def _as_html(source: str) -> str:
    """Rewrite what XML alone allows, and what an HTML parser would lose text over."""
    first, *others = _EMPTY_IN_XML.sub(r"<\1\2></\1>", source).split("<![CDATA[")
    pieces = [first]
    for other in others:
        verbatim, _, after = other.partition("]]>")
        pieces += [escape(verbatim, quote=False), after]
    return "".join(pieces)


def pdf_pages(data: bytes) -> list[str]:
    """Return the text of each page; "" for a page without any.

    Another process reads, within 5 minutes and, where the system can bound it, 2 GiB of memory:
    a file may be made to take more, or to have no end.

    Raises:
        TextError: it is no PDF file, damaged, encrypted, too much, or has no text.
        ExtraError: pypdf is not installed.

    """
    if importlib.util.find_spec("pypdf") is None:
        raise _missing("pdf", "a PDF file")
    if b"%PDF-" not in data[:1024]:
        raise TextError("not a PDF file")
    try:
        done = subprocess.run(  # noqa: S603 - Python itself
            [sys.executable, "-I", "-c", _CHILD, *sys.path],
            input=data,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise TextError(f"not read within {_SECONDS:g} seconds; split it") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise TextError(f"reading it broke off with status {done.returncode}") from None
    if "reason" in answer:
        raise TextError(answer["reason"])
    pages: list[str] = answer["pages"]
    if not any(map(str.strip, pages)):
        raise TextError("no text in it; it may be scanned, which needs OCR first")
    return pages


def serve_pdf() -> None:
    """Read a PDF file from standard input, and write its pages or a reason as JSON."""
    _bound_memory()
    # Notes on what it repairs; nobody reads them.
    logging.getLogger("pypdf").propagate = False
    try:
        answer: dict[str, object] = {"pages": _read_pdf(sys.stdin.buffer.read())}
    except TextError as error:
        answer = {"reason": error.reason}
    except MemoryError:
        answer = {"reason": f"reading it takes more than {_MEMORY >> 30} GiB of memory"}
    json.dump(answer, sys.stdout)


def _bound_memory() -> None:
    # Windows has no such bound, and macOS does not keep it.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _read_pdf(data: bytes) -> list[str]:
    from pypdf import PdfReader

    with _plain_errors():
        reader = PdfReader(io.BytesIO(data))
        # Many files that anyone may read are encrypted with an empty password.
        if reader.is_encrypted and not reader.decrypt(""):
            raise TextError("encrypted; save it without a password first")
        count = len(reader.pages)
    texts: list[str] = []
    left = _CHARACTERS
    for number in range(count):
        with _plain_errors(f"page {number + 1}: "), _losses():
            texts.append(_clean(reader.pages[number].extract_text()))
        left -= len(texts[-1])
        if left < 0:
            raise TextError(f"more than {_CHARACTERS >> 20} Mi characters of text; split it")
    return texts


@contextlib.contextmanager
def _plain_errors(place: str = "") -> Iterator[None]:
    """Turn into a TextError whatever a broken file makes pypdf raise, which may be anything."""
    from pypdf.errors import LimitReachedError

    try:
        yield
    except MemoryError:
        raise
    except TextError as error:
        raise TextError(f"{place}{error.reason}") from None
    except RecursionError:
        raise TextError(f"{place}damaged: nested too deeply") from None
    except LimitReachedError as error:
        raise TextError(f"{place}too much in it: {_one_line(error)}") from None
    except Exception as error:
        raise TextError(f"{place}damaged: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text if text and " " in text else f"{type(error).__name__} {text}".rstrip()


class _Losses(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        message = " ".join(record.getMessage().split())
        if message.startswith(_LOSSES):
            self.first = self.first or message[:200]


@contextlib.contextmanager
def _losses() -> Iterator[None]:
    """Raise TextError where pypdf left out a part of a page and went on."""
    logger, losses = logging.getLogger("pypdf"), _Losses()
    logger.addHandler(losses)
    try:
        yield
    finally:
        logger.removeHandler(losses)
    if losses.first:
        raise TextError(f"damaged: part of its text is lost: {losses.first}")


def _clean(text: str) -> str:
    """Replace what fonts without a proper table of characters give, and no text can hold."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined.replace("\0", "\ufffd").replace(PAGE_BREAK, "\n").rstrip()


@contextlib.contextmanager
def _extra(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise _missing(name, what) from None


def _missing(name: str, what: str) -> ExtraError:
    return ExtraError(f"{what}, which needs: pip install 'jlocal[{name}]'")
