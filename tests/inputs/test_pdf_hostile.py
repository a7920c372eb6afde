"""PDF files that are damaged, or made to take all there is: refused or reported, within limits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from jlocal.errors import TextError
from jlocal.inputs.pdf.reader import read_pdf
from jlocal.inputs.worker import Worker
from support.pdfs import FOREVER, deflated, joined, line, one_page, pdf, refusal, stream, text_of

READER = "jlocal.inputs.pdf.text"

PAGES = ("Backups run every night.\nThey are kept.", "", "The budget is 300 €. Größe 日本 🙂")


ENDLESS = joined(
    [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 2 >>",
        b"<< /Type /Pages /Kids [2 0 R] /Count 1 /Parent 2 0 R >>",
    ]
)


COUNTED = joined(
    [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 2147483647 >>",
        b"<< /Type /Page /Parent 2 0 R >>",
    ]
)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not a PDF file"),
    "a page of HTML": (lambda: b"<html>404</html>", "not a PDF file"),
    "head alone": (lambda: b"%PDF-1.7\n", "damaged: "),
    "nothing but noise": (lambda: b"%PDF-1.7\n" + os.urandom(5000), "damaged: "),
    "no pages": (lambda: pdf(), "damaged: it has no pages"),
    "no text": (lambda: pdf("", " \n "), "no text in it; it may be scanned"),
    "bomb": (lambda: pdf(deflated(b"0" * 100_000_000)), "no text in it"),
    "bomb in a bomb": (lambda: pdf(deflated(b"0" * 100_000_000, 2)), "no text in it"),
    "a form in itself": (
        lambda: one_page("/X1 Do", stream(b"/X1 Do", "/Type /XObject /Subtype /Form")),
        "no text in it",
    ),
    "pages in themselves": (lambda: ENDLESS, "damaged"),
    "absurdly many pages": (lambda: COUNTED, ""),
    "deep": (lambda: pdf(stream(b"[" * 100_000)), "no text in it"),
    "14 MB of numbers": (lambda: b"%PDF-1.7\n1 0 obj\n[" + b"1 " * 7_000_000, "damaged: "),
    "14 MB of objects": (
        lambda: b"%PDF-1.7\n" + b"1 0 obj\n<< /A 1 >>\nendobj\n" * 550_000,
        "damaged: ",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_pdf_that_is_refused(name: str) -> None:
    make, reason = REFUSED[name]
    assert refusal(make()).startswith(reason)


def test_a_part_that_cannot_be_unpacked_is_reported() -> None:
    for broken in (
        stream(b"no zlib here", "/Filter /FlateDecode"),
        stream(b"x", "/Filter [/FlateDecode /Nope]"),
    ):
        read = read_pdf(pdf("good", broken))
        assert read.pages == ["good", ""]
        assert [loss.reason[:8] for loss in read.losses] == ["damaged:"]
    # Not of a text.
    picture = stream(b"no zlib here", "/Subtype /Image /Filter /FlateDecode")
    assert text_of(one_page(line("good"), picture)) == "good"


def outcome(data: bytes) -> str:
    """Return what is reported of a file."""
    try:
        return " ".join(loss.reason for loss in read_pdf(data).losses)
    except TextError as error:
        return error.reason


def test_no_cut_file_gives_a_part_of_its_text_silently() -> None:
    data = pdf(*PAGES)
    first = data.index(b"trailer")
    # As if it had been saved once before.
    for whole in (data, data.replace(b"1 0 obj", data[first:] + b"1 0 obj", 1)):
        for length in range(20, len(whole) - 30, len(whole) // 9):
            assert "damaged" in outcome(whole[:length])


def test_no_flipped_bit_is_a_traceback() -> None:
    data = pdf(*PAGES)
    for place in range(9, len(data), len(data) // 40):
        changed = data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :]
        assert outcome(changed).isprintable()


@pytest.mark.slow
def test_a_file_that_takes_forever() -> None:
    assert len(FOREVER) < 100_000
    with closing(Worker(READER, seconds=2, memory=2 << 30)) as worker:
        start = time.monotonic()
        with pytest.raises(TextError) as error:
            worker.read(FOREVER)
        assert error.value.reason == "not read within 2 seconds; split it"
        assert time.monotonic() - start < 20
        worker.seconds = 300
        assert worker.read(pdf("the next one"))["pages"] == ["the next one"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the bound")
def test_a_file_that_takes_too_much_memory() -> None:
    large = pdf(deflated(b"BT /F 1 Tf (x) Tj ET " * 1_000_000))
    with closing(Worker(READER, seconds=300, memory=200 << 20)) as worker:
        with pytest.raises(TextError) as error:
            worker.read(large)
        assert error.value.reason.isprintable()
        assert "memory" in error.value.reason
