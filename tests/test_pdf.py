"""PDF files: what is read of them, and what is refused or reported and why."""

from __future__ import annotations

import io
import os
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from pdfs import HELVETICA, deflated, joined, line, one_page, pdf, stream, to_unicode
from texts import AWKWARD

from jlocal.errors import TextError
from jlocal.extract import pdf as pdf_module
from jlocal.extract.pdf import Loss, Pdf, read_pdf

DATA = Path(__file__).parent / "data" / "pdf"
PAGES = ("Backups run every night.\nThey are kept.", "", "The budget is 300 €. Größe 日本 🙂")

UNDECODABLE = "its fonts do not tell which characters they show; OCR can read it"
HARMED = "some letters cannot be told from its fonts, and are \ufffd"


def text_of(data: bytes) -> str:
    """Return the text of a file of one page of which nothing is lost."""
    read = read_pdf(data)
    assert read.losses == []
    (page,) = read.pages
    return page


def refusal(data: bytes) -> str:
    with pytest.raises(TextError) as error:
        read_pdf(data)
    assert error.value.reason.isprintable()
    return error.value.reason


def test_pages() -> None:
    assert read_pdf(pdf(*PAGES)) == Pdf(list(PAGES), [])


SAMPLES = {
    "kr_ksc_ms": "항구 창고",
    "jp_h": "港の倉庫",
    "cff_type1_encoding": "Harbour rooms",
    "font_missing": "font resource is missing",
    "fake_bold": "Harbour rules",
    "hyphenated": "The harbour administration is closed on Sundays and holidays.",
    "junk_first": "after junk",
    "rotated_page": "Sideways table heading\nsecond sideways line",
    "xobject_text": "page text\ntext in a form object",
    "filled_form": "Application for a garden plot\nName of applicant:\n"
    "Marguerite Oyelaran Approved by the committee on 3 May",
    "two_columns": "\n".join(f"left line {n} right line {n}" for n in range(4)),
    "enc_owner_aes256": "\n".join(f"left line {n} right line {n}" for n in range(4)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_viewer_shows_is_read(name: str) -> None:
    assert text_of((DATA / f"{name}.pdf").read_bytes()) == SAMPLES[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("enc_user", "encrypted; save it without a password first"),
        ("xfa_please_wait", "an XFA form, which only Adobe's programs show"),
        ("portfolio", "a portfolio, whose attached files are not read"),
        ("truncated", "damaged: its end is missing"),
    ],
)
def test_what_no_viewer_shows_is_refused(name: str, reason: str) -> None:
    assert refusal((DATA / f"{name}.pdf").read_bytes()).startswith(reason)


def test_pages_that_are_pictures_are_reported_where_they_are_half_of_a_file() -> None:
    read = read_pdf((DATA / "cover_text_then_scan.pdf").read_bytes())
    assert read.pages == ["Cover sheet", ""]
    assert [(loss.place, loss.reason[:14]) for loss in read.losses] == [("p. 2", "only a picture")]
    picture = stream(b"q 9 0 0 9 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \xff EI Q")
    assert read_pdf(pdf("a title page", picture, "text")).losses == []
    assert refusal(pdf(picture)).startswith("no text in it; it may be scanned")


def test_text_over_a_scan_is_read() -> None:
    picture = "q 612 0 0 792 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID x EI Q "
    invisible = "BT 3 Tr /F1 12 Tf 72 700 Td (recognised words) Tj ET"
    assert text_of(one_page(picture + invisible)) == "recognised words"


def test_text_outside_the_page_is_read() -> None:
    content = line("inside") + line("beside", x=-500) + line("above", y=2000)
    assert set(text_of(one_page(content)).split()) == {"inside", "beside", "above"}


BOLD = {
    "shifted": line("Harbour rules") + line("Harbour rules", x=72.5),
    "four times": "".join(
        line("Harbour rules", x, y) for x in (72, 72.3) for y in (700, 700.3)
    ),
    "after all lines": line("Harbour") + line("rules", y=680)
    + line("Harbour", x=72.3) + line("rules", x=72.3, y=680),
    "word by word": line("Harbour") + line("Harbour", x=72.3)
    + line("rules", x=122) + line("rules", x=122.3),
}  # fmt: skip


@pytest.mark.parametrize("name", BOLD)
def test_what_is_printed_twice_to_look_bold_comes_once(name: str) -> None:
    assert text_of(one_page(BOLD[name])).split() == ["Harbour", "rules"]


def test_what_is_said_twice_comes_twice() -> None:
    content = (
        line("very very")
        + line("very very", y=686)
        + line("0.00", x=300)
        + line("lillil 1111", y=672)
    )
    words = text_of(one_page(content)).split()
    assert sorted(words) == sorted(["very", "very", "very", "very", "0.00", "lillil", "1111"])


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("admin-", "istration"), "administration"),
        (("ADMIN-", "ISTRATION"), "ADMINISTRATION"),
        (("Jean-", "Pierre"), "Jean-Pierre"),
        (("COVID-", "19"), "COVID-19"),
        (("a -", "b"), "a -\nb"),
    ],
)
def test_words_that_a_line_break_parts_are_joined(lines: tuple[str, str], text: str) -> None:
    assert text_of(one_page(line(lines[0]) + line(lines[1], y=686))) == text


def cjk(encoding: str, ordering: str, codes: str, content: str = "") -> bytes:
    """Write text in a font that the file does not contain."""
    return one_page(
        content or f"BT /F1 12 Tf 72 700 Td <{codes}> Tj ET",
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /Ryumin-Light /CIDSystemInfo "
        b"<< /Registry (Adobe) /Ordering (%s) /Supplement 2 >> /FontDescriptor 7 0 R /DW 1000 >>"
        % ordering.encode(),
        b"<< /Type /FontDescriptor /FontName /Ryumin-Light /Flags 4 /FontBBox [0 -200 1000 900] "
        b"/ItalicAngle 0 /Ascent 800 /Descent -200 /StemV 80 >>",
        font=b"<< /Type /Font /Subtype /Type0 /BaseFont /Ryumin-Light /Encoding /%s "
        b"/DescendantFonts [6 0 R] >>" % encoding.encode(),
    )


@pytest.mark.parametrize(
    ("encoding", "ordering", "codes", "text"),
    [
        ("EUC-H", "Japan1", "b9c1a4cec1d2b8cb", "港の倉庫"),
        ("V", "Japan1", "3941244e4152384b", "港の倉庫"),
        ("UniJIS-UTF16-H", "Japan1", "6e2f306e5009", "港の倉"),
        ("90ms-RKSJ-H", "Japan1", "8d60", "港"),
        ("GBK-EUC-H", "GB1", "b8dbbfda", "港口"),
        ("ETen-B5-H", "CNS1", "b4e4a466", "港口"),
        ("KSC-EUC-H", "Korea1", "c7d7b1b8", "항구"),
    ],
)
def test_east_asian_text_without_its_font_is_read(
    encoding: str, ordering: str, codes: str, text: str
) -> None:
    assert text_of(cjk(encoding, ordering, codes)) == text


WIDTHS = b"/FirstChar 0 /LastChar 255 /Widths [%s]" % (b"500 " * 256)


def in_font(meanings: dict[int, bytes], codes: str) -> bytes:
    return one_page(
        f"BT /F1 12 Tf 72 700 Td <{codes}> Tj ET",
        to_unicode(meanings),
        b"<< /Type /FontDescriptor /FontName /ABCDEF+Foo /Flags 4 >>",
        font=b"<< /Type /Font /Subtype /Type1 /BaseFont /ABCDEF+Foo /FontDescriptor 7 0 R "
        b"/ToUnicode 6 0 R %s >>" % WIDTHS,
    )


ASCII = {code: bytes([0, code]) for code in range(32, 127)}
OFFICE = b"the O\x1ece is closed".hex()


@pytest.mark.parametrize(
    "meaning",
    [b"\0\0", b"\xf0\x01", b"\xff\xfd", b"\xff\xfe", b"\0\2", b"", None],
    ids=["NUL", "private use", "U+FFFD", "no character", "control", "nothing", "missing"],
)
def test_a_ligature_without_meaning_is_reported(meaning: bytes | None) -> None:
    meanings = ASCII if meaning is None else ASCII | {0x1E: meaning}
    read = read_pdf(in_font(meanings, OFFICE))
    assert read == Pdf(["the O\ufffdce is closed"], [Loss((0,), HARMED)])


def test_a_ligature_with_a_meaning_is_read() -> None:
    for meaning in (b"\0f\0f\0i", b"\xfb\x03"):
        assert text_of(in_font(ASCII | {0x1E: meaning}, OFFICE)) == "the Office is closed"


def test_a_sign_of_a_symbol_font_is_no_loss() -> None:
    read = text_of(in_font(ASCII | {0x1E: b"\xf0\xb7"}, b"\x1e eggs".hex()))
    assert read == "• eggs"


PROCEDURE = stream(b"600 0 0 0 500 500 d1 0 0 500 500 re f")


def type3(names: str, first: int, text: bytes) -> bytes:
    """Write text in a Type 3 font whose characters have these names, from a number on."""
    codes = names.split()
    procedures = " ".join(f"/{name} 6 0 R" for name in set(codes))
    differences = " ".join(f"/{name}" for name in codes)
    return one_page(
        b"BT /F1 12 Tf 72 700 Td <%s> Tj ET" % text.hex().encode(),
        PROCEDURE,
        font=b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 1000 1000] "
        b"/FontMatrix [.001 0 0 .001 0 0] /FirstChar %d /LastChar %d /Widths [%s] "
        b"/CharProcs << %s >> /Encoding << /Type /Encoding /Differences [%d %s] >> >>"
        % (
            first, first + len(codes) - 1, b"600 " * len(codes),
            procedures.encode(), first, differences.encode(),
        ),
    )  # fmt: skip


def test_a_type_3_font_that_numbers_its_characters_as_ascii_does_is_read() -> None:
    names = " ".join(f"a{code}" for code in range(32, 127))
    assert text_of(type3(names, 32, b"Harbour rules, 3 May")) == "Harbour rules, 3 May"


def test_a_font_that_numbers_its_characters_as_they_come_is_reported() -> None:
    text = "the harbour rules are kept in the office of the harbour master"
    order = list(dict.fromkeys(text))
    names = " ".join(f"g{number}" for number in range(len(order)))
    for first in (1, 33, 65):
        codes = bytes(first + order.index(letter) for letter in text)
        assert refusal(type3(names, first, codes)) == UNDECODABLE


def test_a_font_that_knows_only_its_glyphs_is_reported_with_its_page() -> None:
    """A page in a font that gives the numbers of glyphs; the other pages are kept."""
    glyphs = b"".join(bytes([0, code - 29]) for code in b"the harbour rules")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 4 0 R 3 0 R] /Count 3 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F1 7 0 R >> >> >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 6 0 R /Resources << /Font << /F1 8 0 R >> >> >>",
        stream(line("a good page").encode()),
        stream(b"BT /F1 12 Tf 72 700 Td <%s> Tj ET" % glyphs.hex().encode()),
        HELVETICA,
        b"<< /Type /Font /Subtype /Type0 /BaseFont /ABCDEF+Foo /Encoding /Identity-H "
        b"/DescendantFonts [9 0 R] >>",
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /ABCDEF+Foo /CIDSystemInfo "
        b"<< /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor 10 0 R "
        b"/DW 1000 >>",
        b"<< /Type /FontDescriptor /FontName /ABCDEF+Foo /Flags 4 /FontBBox [0 -200 1000 900] "
        b"/ItalicAngle 0 /Ascent 800 /Descent -200 /StemV 80 >>",
    ]
    read = read_pdf(joined(objects))
    assert read.pages == ["a good page", "", "a good page"]
    assert read.losses == [Loss((1,), UNDECODABLE)]


def annotated(*annotations: str, form: bool = True, content: str = "") -> bytes:
    numbers = " ".join(f"{number} 0 R" for number in range(6, 6 + len(annotations)))
    catalog = (
        f"/AcroForm << /Fields [{numbers}] /DR << /Font << /F1 5 0 R >> >> /DA (/F1 12 Tf 0 g) >>"
    )
    return one_page(
        content,
        *(f"<< /Type /Annot {annotation} >>".encode() for annotation in annotations),
        catalog=catalog if form else "",
        page=f"/Annots [{numbers}]",
    )


def test_fields_are_read_that_have_no_appearance_yet() -> None:
    read = text_of(
        annotated(
            "/Subtype /Widget /FT /Tx /T (a) /V (Marguerite) /Rect [200 670 400 690]",
            "/Subtype /Widget /FT /Ch /Ff 131072 /T (b) /V (chosen) /Opt [(other) (chosen)] "
            "/Rect [200 640 400 660]",
            "/Subtype /Widget /FT /Tx /T (c) /V (not shown) /F 2 /Rect [200 600 400 620]",
            "/Subtype /Widget /FT /Tx /T (d) /Ff 8192 /V (secret) /Rect [200 560 400 580]",
        )
    )
    assert "Marguerite" in read
    assert "chosen" in read
    assert not {"other", "shown", "secret"} & set(read.split())


def test_notes_are_read_once() -> None:
    read = text_of(
        annotated(
            "/Subtype /FreeText /Contents (typed on the page) /Rect [200 540 400 560]",
            "/Subtype /Text /Contents (a sticky note) /Rect [200 510 220 530]",
            "/Subtype /Highlight /Contents (marked words) /Rect [72 700 200 710]",
            "/Subtype /Text /Contents (hidden) /F 2 /Rect [200 510 220 530]",
            "/Subtype /Link /Contents (a link) /Rect [200 510 220 530]",
            form=False,
            content=line("These are marked words."),
        )
    )
    assert read.split("\n") == ["These are marked words.", "typed on the page", "a sticky note"]


def test_a_placeholder_of_an_xfa_form_is_refused_without_its_flag() -> None:
    xfa = one_page(
        line("Please wait..."), stream(b"<xdp/>"), catalog="/AcroForm << /Fields [] /XFA 6 0 R >>"
    )
    assert refusal(xfa).startswith("an XFA form")
    filled = one_page(
        line("Name:"), stream(b"<xdp/>"), catalog="/AcroForm << /Fields [] /XFA 6 0 R >>"
    )
    assert text_of(filled) == "Name:"


def attached(content: str, entries: str = "") -> bytes:
    return one_page(
        content,
        stream(b"attached words", "/Type /EmbeddedFile"),
        b"<< /Type /Filespec /F (inner.txt) /EF << /F 6 0 R >> >>",
        catalog=f"/Names << /EmbeddedFiles << /Names [(inner.txt) 7 0 R] >> >> {entries}",
    )


def test_the_cover_of_a_portfolio_is_read_and_the_rest_reported() -> None:
    read = read_pdf(attached(line("Open with a newer program"), "/Collection << /View /D >>"))
    assert read.pages == ["Open with a newer program"]
    assert [loss.place for loss in read.losses] == [""]
    assert "attached files are not read" in read.losses[0].reason
    # An invoice with its data attached is no portfolio.
    assert text_of(attached(line("Invoice"))) == "Invoice"


NO_TEXT_IN_PDF = {
    "control characters", "private use and noncharacters", "replacement character",
    # PDFium mirrors brackets while it puts this in the order of reading.
    "right to left marks",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in AWKWARD if name not in NO_TEXT_IN_PDF])
def test_awkward_text_in_pdf(name: str) -> None:
    text = " ".join(AWKWARD[name].translate({0: None, 12: None}).split())[:500]
    if text:
        assert letters(text_of(pdf(text))) == letters(text)


def letters(text: str) -> list[str]:
    """PDFium takes ligatures apart, and puts what runs from right to left in another order."""
    return sorted(unicodedata.normalize("NFKC", text).replace(" ", ""))


def test_characters_that_no_text_can_hold() -> None:
    assert read_pdf(pdf("some text\0more\fand")).pages == ["some text\ufffdmore\nand"]
    lone = pdf("some text").replace(b"<0078>", b"<d800>")
    (page,) = read_pdf(lone).pages
    page.encode()


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_encrypted(algorithm: str) -> None:
    from pypdf import PdfWriter

    def encrypted(password: str) -> bytes:
        writer, data = PdfWriter(clone_from=io.BytesIO(pdf(*PAGES))), io.BytesIO()
        writer.encrypt(password, "owner", algorithm=algorithm)
        writer.write(data)
        return data.getvalue()

    assert read_pdf(encrypted("")).pages == list(PAGES)
    assert refusal(encrypted("secret")) == "encrypted; save it without a password first"


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
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a PDF file"),
    "a page of HTML": (b"<html>404</html>", "not a PDF file"),
    "head alone": (b"%PDF-1.7\n", "damaged: "),
    "nothing but noise": (b"%PDF-1.7\n" + os.urandom(5000), "damaged: "),
    "no pages": (pdf(), "damaged: it has no pages"),
    "no text": (pdf("", " \n "), "no text in it; it may be scanned"),
    "bomb": (pdf(deflated(b"0" * 100_000_000)), "no text in it"),
    "bomb in a bomb": (pdf(deflated(b"0" * 100_000_000, 2)), "no text in it"),
    "a form in itself": (
        one_page("/X1 Do", stream(b"/X1 Do", "/Type /XObject /Subtype /Form")),
        "no text in it",
    ),
    "pages in themselves": (ENDLESS, "damaged"),
    "absurdly many pages": (COUNTED, ""),
    "deep": (pdf(stream(b"[" * 100_000)), "no text in it"),
    "14 MB of numbers": (b"%PDF-1.7\n1 0 obj\n[" + b"1 " * 7_000_000, "damaged: "),
    "14 MB of objects": (b"%PDF-1.7\n" + b"1 0 obj\n<< /A 1 >>\nendobj\n" * 550_000, "damaged: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_pdf_that_is_refused(name: str) -> None:
    data, reason = REFUSED[name]
    assert refusal(data).startswith(reason)


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


def _forever() -> bytes:
    """Write a file whose pages show the same long stream, which no limit of one stream finds."""
    pages = 500
    kids = " ".join(f"{number} 0 R" for number in range(5, 5 + pages))
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F 3 0 R >> >> >>"
    return joined(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            deflated(b"BT /F 1 Tf (x) Tj ET " * 150_000),
            *[page] * pages,
        ]
    )


FOREVER = _forever()


def test_a_file_that_takes_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(FOREVER) < 100_000
    monkeypatch.setattr(pdf_module._worker, "seconds", 2)
    start = time.monotonic()
    assert refusal(FOREVER) == "not read within 2 seconds; split it"
    assert time.monotonic() - start < 20
    monkeypatch.undo()
    assert text_of(pdf("the next one")) == "the next one"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the bound")
def test_a_file_that_takes_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from jlocal.extract import worker

    monkeypatch.setattr(worker, "_MEMORY", 200 << 20)
    pdf_module._worker.close()
    assert "memory" in refusal(pdf(deflated(b"BT /F 1 Tf (x) Tj ET " * 1_000_000)))
    pdf_module._worker.close()


def test_losses_name_pages_as_people_count_them() -> None:
    assert Loss((0, 2, 3, 4, 6), "").place == "p. 1, 3-5, 7"
    assert Loss((), "").place == ""
    assert Loss(tuple(range(0, 100, 2)), "").place == "p. 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, …"


def drawn_from_left_to_right(*words: str) -> bytes:
    """Write words as browsers print them: glyph by glyph, each with its meaning."""
    glyphs = "".join(
        f"/Span << /ActualText <FEFF{letter.encode('utf-16-be').hex()}> >> BDC <41> Tj EMC "
        for letter in " ".join(words)[::-1]
    )
    return one_page(f"BT /ReversedChars BMC /F1 12 Tf 72 700 Td {glyphs} EMC ET")


@pytest.mark.parametrize("words", [("مرحبا", "بالعالم"), ("שלום", "עולם"), ("مُدَرِّسة",)])
def test_words_from_right_to_left_are_in_the_order_of_reading(words: tuple[str, ...]) -> None:
    assert text_of(drawn_from_left_to_right(*words)) == " ".join(words)


def test_shapes_of_arabic_letters_are_letters() -> None:
    assert letters(text_of(pdf("ﻻ ﺳﻼم"))) == letters("لا سلام")
    assert text_of(drawn_from_left_to_right("ﺑﺎب")) == "باب"


def test_a_column_of_vertical_writing_is_one_line() -> None:
    column = "".join(
        f"BT /F1 12 Tf 72 {700 - 12 * n} Td <{code}> Tj ET "
        for n, code in enumerate(("6e2f", "306e", "5009", "5eab"))
    )
    assert text_of(cjk("UniJIS-UTF16-H", "Japan1", "", column)) == "港の倉庫"
