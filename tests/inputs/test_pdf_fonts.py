"""Fonts of PDF files: characters that they tell, and those that they do not."""

from __future__ import annotations

import unicodedata

import pytest

from jlocal.inputs.pdf.reader import Loss, Pdf, read_pdf
from support.pdfs import (
    ASCII,
    HELVETICA,
    OFFICE,
    cjk,
    drawn_from_left_to_right,
    in_font,
    joined,
    line,
    pdf,
    refusal,
    stream,
    text_of,
    type3,
)
from support.texts import AWKWARD

UNDECODABLE = "its fonts do not tell which characters they show; OCR can read it"
HARMED = "some letters cannot be told from its fonts, and are \ufffd"


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


@pytest.mark.parametrize(
    "meaning",
    [b"\0\0", b"\xf0\x01", b"\xff\xfd", b"\xff\xfe", b"\xfd\xd0", b"\0\2", b"", None],
    ids=["NUL", "private use", "U+FFFD", "U+FFFE", "U+FDD0", "control", "nothing", "missing"],
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


def test_a_type_3_font_that_numbers_its_characters_as_ascii_does_is_read() -> None:
    names = " ".join(f"a{code}" for code in range(32, 127))
    for text in ("Harbour rules, 3 May", "HARBOUR RULES", "Type three"):
        assert text_of(type3(names, 32, text.encode())) == text


def test_a_font_that_numbers_its_characters_as_they_come_is_reported() -> None:
    text = "the harbour rules are kept in the office of the harbour master"
    order = list(dict.fromkeys(text))
    names = " ".join(f"g{number}" for number in range(len(order)))
    for first in (1, 33, 65, 97):
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


@pytest.mark.parametrize("words", [("مرحبا", "بالعالم"), ("שלום", "עולם"), ("مُدَرِّسة",)])
def test_words_from_right_to_left_are_in_the_order_of_reading(words: tuple[str, ...]) -> None:
    text = text_of(drawn_from_left_to_right(*words))
    # Two marks of one letter have no order.
    assert unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", " ".join(words))


def test_shapes_of_arabic_letters_are_letters() -> None:
    assert letters(text_of(pdf("ﻻ ﺳﻼم"))) == letters("لا سلام")
    assert text_of(drawn_from_left_to_right("ﺑﺎب")) == "باب"


def test_radicals_that_stand_for_characters_are_characters() -> None:
    assert text_of(pdf("\u2f47\u672c \u2fbc")) == "日本 高"


def test_a_column_of_vertical_writing_is_one_line() -> None:
    column = "".join(
        f"BT /F1 12 Tf 72 {700 - 12 * n} Td <{code}> Tj ET "
        for n, code in enumerate(("6e2f", "306e", "5009", "5eab"))
    )
    assert text_of(cjk("UniJIS-UTF16-H", "Japan1", "", column)) == "港の倉庫"
