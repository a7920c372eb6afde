"""Random PDF files, pages, documents, e-mails and notebooks for the child processes that read them.

They end in text, or in a TextError of one printable line, within limits. FUZZ_INPUTS=N makes N
other inputs in each test instead of the same few dozen; --hypothesis-show-statistics tells how
they ended.
"""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from jlocal.errors import TextError
from jlocal.inputs import flowing
from jlocal.inputs.pdf import reader as pdf_files
from support.fuzzing import fuzzer, mutations
from support.office_files import EVERY_KIND, mail
from support.pdfs import (
    ASCII,
    OFFICE,
    annotated,
    cjk,
    drawn_from_left_to_right,
    in_font,
    line,
    one_page,
    pdf,
    stream,
    type3,
)

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data"
NOTEBOOK = b"""{"cells": [
 {"cell_type": "markdown", "source": ["# One\\n", "```"], "attachments": {}},
 {"cell_type": "code", "source": "x", "outputs": [
  {"output_type": "stream", "name": "stdout", "text": ["a\\r\\u00e9"]},
  {"output_type": "display_data", "data": {"text/plain": "b", "image/png": "AAAA"}}]}
], "metadata": {"language_info": {"name": "python"}}, "nbformat": 4}"""
# Of the caller; the child's are those of the system.
MEMORY = 64 << 20
SECONDS = 20

fuzz = fuzzer(40, deadline=None)


@pytest.fixture(autouse=True, scope="module")
def _limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for worker in (*flowing._WORKERS.values(), pdf_files._worker):
            patch.setattr(worker, "seconds", SECONDS)
        yield


def bounded(read: Callable[[], list[str]]) -> None:
    """Read a file, which may be refused; nothing else may happen."""
    start = time.monotonic()
    tracemalloc.start()
    try:
        reason, texts = outcome(read)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 2 * SECONDS
    assert reason.isprintable()
    assert len(reason) < 400
    event(re.sub(r"\d+", "N", reason)[:60] or "text")
    for text in texts:
        text.encode()
        assert "\0" not in text


def outcome(read: Callable[[], list[str]]) -> tuple[str, list[str]]:
    try:
        return "", read()
    except TextError as error:
        return error.reason, []


def read_pdf(data: bytes) -> list[str]:
    read = pdf_files.read_pdf(data)
    assert all(loss.reason.isprintable() and loss.place.isprintable() for loss in read.losses)
    return read.pages


FORM = stream(b"/X1 Do " + line("a form").encode(), "/Type /XObject /Subtype /Form")
SOUND = [
    *(path.read_bytes() for path in sorted((DATA / "pdf").glob("*.pdf"))),
    pdf("Backups run every night.", "", "The budget is 300 €."),
    one_page("/X1 Do", FORM),
    in_font(ASCII | {0x1E: b"\xf0\x01"}, OFFICE),
    type3(" ".join(f"a{code}" for code in range(32, 127)), 32, b"Harbour rules"),
    cjk("UniJIS-UTF16-H", "Japan1", "6e2f306e5009"),
    drawn_from_left_to_right("مرحبا"),
    annotated(
        "/Subtype /Widget /FT /Tx /T (a) /V (Marguerite) /Rect [200 670 400 690]",
        "/Subtype /Widget /FT /Ch /T (b) /V (x) /Opt [(x) (y)] /Rect [200 640 400 660]",
        "/Subtype /FreeText /Contents (typed) /Rect [200 540 400 560]",
    ),
]
TOKEN = re.compile(rb"/\w+|-?\d+(?:\.\d+)?|<<|>>|\[|\]|\(\w*\)|<[0-9a-f]*>|\b[A-Za-z]+\b")
WORDS = [
    *sorted({token for data in SOUND for token in TOKEN.findall(data)}),
    *b"-1 65536 2147483647 -2147483648 4294967296 1e400 0.0000001 R".split(),
    *(bracket * 300 for bracket in (b"<<", b"[", b"(")),
]


def other_tokens(data: bytes) -> st.SearchStrategy[bytes]:
    """Put other tokens in the places of some, so that the file stays a PDF file to its reader."""
    places = [found.span() for found in TOKEN.finditer(data)]

    def apply(edits: dict[tuple[int, int], bytes]) -> bytes:
        changed = data
        for (begin, end), token in sorted(edits.items(), reverse=True):
            changed = changed[:begin] + token + changed[end:]
        return changed

    edits = st.dictionaries(st.sampled_from(places), st.sampled_from(WORDS), min_size=1, max_size=6)
    return edits.map(apply)


contents = st.lists(
    st.one_of(st.sampled_from(WORDS), st.binary(max_size=8)), max_size=60
).map(b" ".join)  # fmt: skip
pdfs = st.one_of(
    st.sampled_from(SOUND).flatmap(mutations),
    st.sampled_from(SOUND).flatmap(other_tokens),
    contents.map(lambda content: one_page(content, FORM)),
    contents.map(lambda content: pdf("a good page", stream(content, "/Filter /FlateDecode"))),
    st.tuples(contents, contents).map(lambda pair: one_page("/X1 Do", stream(pair[0]), pair[1])),
    st.binary(max_size=300).map(lambda data: b"%PDF-1.7\n" + data),
)


@fuzz
@given(data=pdfs)
def test_pdf_files(data: bytes) -> None:
    bounded(lambda: read_pdf(data))


TAGS = """
    p div b table tr td ul li svg math template script style title textarea select option form
    input iframe noscript frameset body html head meta plaintext xmp pre br a
""".split()  # noqa: SIM905
markup = st.one_of(
    st.sampled_from(TAGS).map("<{}>".format),
    st.sampled_from(TAGS).map("</{}>".format),
    st.builds("<{} {}={}>".format, st.sampled_from(TAGS), st.text(max_size=6), st.text(max_size=6)),
    st.sampled_from(
        ["<!--", "-->", "<![CDATA[", "]]>", "<?xml ?>", "&#x110000;", "&#xD800;", "&#0;", "&amp",
         "<", ">", "'", '"', "\0", "\ufffd", "<!DOCTYPE html>", "<meta charset=koi8-r>"]
    ),
    st.text(max_size=12),
)  # fmt: skip
encodings = st.sampled_from(
    ["utf-8", "utf-16", "utf-16-le", "utf-32", "cp1252", "koi8-r", "cp932", "gb18030", "iso2022_jp"]
)
source = st.lists(markup, max_size=40).map("".join)
pages = st.builds(
    lambda text, encoding, times: (text * times).encode(encoding, "ignore"),
    source,
    encodings,
    st.sampled_from([1, 1, 1, 100, 2000]),
)


@fuzz
@given(
    data=st.one_of(
        pages,
        st.binary(max_size=300),
        st.sampled_from([path.read_bytes() for path in (DATA / "html").glob("*.html")]).flatmap(
            mutations
        ),
    )
)
def test_html_pages(data: bytes) -> None:
    bounded(lambda: [flowing.read_flowing(data, "html").text])


@fuzz
@given(data=st.sampled_from(list(EVERY_KIND.values())).flatmap(mutations))
def test_office_documents(data: bytes) -> None:
    bounded(lambda: [flowing.read_flowing(data, "office").text])


headers = st.sampled_from(
    ["From", "To", "Cc", "Subject", "Date", "MIME-Version", "Content-Type", "Content-Disposition",
     "Content-Transfer-Encoding", "Message-ID"]
)  # fmt: skip
values = st.lists(
    st.one_of(
        st.sampled_from(
            ["multipart/mixed", "multipart/alternative", "text/plain", "text/html",
             "message/rfc822", '; boundary="b"', "; charset=", "utf-8", "utf-7", "undefined",
             "idna", "base64", "quoted-printable", "x-uuencode", "=?utf-8?q?=C3?=", "=?x?b?!?=",
             "<a@x>", '"', ":", ";", "\n ", "(", "[", "attachment; filename*=utf-8''%ff",
             "filename*0*=", "@", ","]
        ),
        st.text(max_size=8),
    ),
    max_size=6,
).map("".join)  # fmt: skip
mails = st.builds(
    lambda fields, body: (
        "".join(f"{name}: {value}\n" for name, value in fields) + f"\n{body}"
    ).encode("utf-8", "surrogatepass"),
    st.lists(st.tuples(headers, values), max_size=8),
    st.lists(
        st.one_of(
            st.sampled_from(["--b\n", "--b--\n", "\n", "Content-Type: text/html\n\n", "<p>x"]),
            st.text(max_size=30),
        ),
        max_size=12,
    ).map("".join),
)


@fuzz
@given(data=mutations(NOTEBOOK))
def test_notebooks(data: bytes) -> None:
    bounded(lambda: [flowing.read_flowing(data, "notebook").text])


@fuzz
@given(data=st.one_of(mails, mutations(mail(html="<p>Hi</p>"))))
def test_mails(data: bytes) -> None:
    bounded(lambda: [flowing.read_flowing(data, "mail").text])
