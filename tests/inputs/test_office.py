"""Office documents and e-books: what is read, how headings come through, and what is refused."""

from __future__ import annotations

import io
import sys
import time
import zipfile
from pathlib import Path

import pytest

from jlocal.errors import TextError
from jlocal.inputs.documents import Document, Unreadable, read_file
from jlocal.inputs.flowing import read_flowing
from jlocal.inputs.formats import format_of, missing_extra, reader_of
from support.office_files import (
    EVERY_KIND,
    book,
    open_document,
    paragraph,
    slides,
    table,
    word,
    word_part,
    zipped,
)

LOCKED = Path(__file__).parents[1] / "data" / "locked.docx"
NOT_THIS = "damaged, or not what its name says"


def read(data: bytes) -> str:
    return read_flowing(data, "office").text


def headings(data: bytes) -> list[str]:
    found = read_flowing(data, "office")
    return [f"{level} {found.text[start:end]}" for start, end, level in found.headings]


def refusal(data: bytes) -> str:
    with pytest.raises(TextError) as error:
        read(data)
    return error.value.reason


@pytest.mark.parametrize("name", EVERY_KIND)
def test_every_kind_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(EVERY_KIND[name])
    document = read_file(tmp_path / name)
    assert isinstance(document, Document), document
    assert "Boats" in document.text
    if name in ("a.docx", "a.odt", "a.epub"):
        assert "Harbour\n\nBoats lie there." in document.text
        assert "Harbour" in [document.text[start:end] for start, end, _ in document.headings]


def test_headings_lists_and_tables_of_a_word_document() -> None:
    data = word(
        paragraph("The harbour", "Heading1"),
        paragraph("Größe 日本 🙂, snake_case and 2 * 3."),
        paragraph("Costs", "Heading2"),
        table(("Item", "Price"), ("Dredger", "300 €"), ("", "x")),
    )
    assert read(data) == (
        "The harbour\n\nGröße 日本 🙂, snake_case and 2 * 3.\n\nCosts\n\n"
        "Item | Price\nDredger | 300 €\n | x"
    )
    assert headings(data) == ["1 The harbour", "2 Costs"]


def test_what_of_a_word_document_is_its_text() -> None:
    changed = (
        '<w:p><w:r><w:t xml:space="preserve">Kept </w:t></w:r>'
        '<w:ins w:id="1" w:author="a"><w:r><w:t>inserted</w:t></w:r></w:ins>'
        '<w:del w:id="2" w:author="a"><w:r><w:delText>deleted</w:delText></w:r></w:del></w:p>'
    )
    noted = '<w:p><w:r><w:t>Noted.</w:t></w:r><w:r><w:footnoteReference w:id="5"/></w:r></w:p>'
    commented = (
        '<w:p><w:commentRangeStart w:id="0"/><w:r><w:t>Discussed</w:t></w:r>'
        '<w:commentRangeEnd w:id="0"/><w:r><w:commentReference w:id="0"/></w:r></w:p>'
    )
    footnote = f'<w:footnote w:id="5">{paragraph("The note itself.")}</w:footnote>'
    comment = f'<w:comment w:id="0" w:author="a">{paragraph("a comment")}</w:comment>'
    data = word(
        changed,
        noted,
        commented,
        '<w:sectPr xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
        '<w:headerReference w:type="default" r:id="r4"/></w:sectPr>',
        parts={
            "word/footnotes.xml": word_part("footnotes", footnote),
            "word/comments.xml": word_part("comments", comment),
            "word/header1.xml": word_part("hdr", paragraph("page header")),
        },
    )
    # The note stands where it is referred to, and so in the same chunk.
    assert read(data) == "Kept inserted\n\nNoted.\n\nThe note itself.\n\nDiscussed"


def test_slides_have_their_titles_and_notes() -> None:
    data = slides(("Plan", "Two boats"), ("Costs", "Much"), notes="Speak slowly")
    assert read(data) == "Plan\n\nTwo boats\n\nSpeak slowly\n\nCosts\n\nMuch"
    assert headings(data) == ["2 Plan", "2 Costs"]


def test_chapters_of_a_book() -> None:
    data = book("<h1>One</h1><p>First &amp; last</p>", "<h2>Two</h2><ul><li>a</li></ul>")
    assert read(data) == "Book\n\nOne\n\nFirst & last\n\nTwo\n\n- a"
    assert headings(data) == ["1 Book", "1 One", "2 Two"]


def test_nothing_reaches_a_page_break_or_a_terminal() -> None:
    text = read(word(paragraph("a&#x2028;b"), '<w:p><w:r><w:br w:type="page"/></w:r></w:p>'))
    assert text == "a\nb"


def test_what_is_refused_and_why(tmp_path: Path) -> None:
    good = word(paragraph("fine"))
    assert refusal(LOCKED.read_bytes()) == "encrypted; save it without a password first"
    assert refusal(open_document("text", "", encrypted=True)).startswith("encrypted;")
    assert refusal(word()) == "no text in it; it may hold only pictures"
    assert refusal(b"%PDF-1.4 x") == "a PDF file; rename it to .pdf"
    for data in (b"", b"just text", good[:-100], b"PK\3\4" + bytes(100), zipped({"a.txt": "a"})):
        assert refusal(data) == NOT_THIS
    (tmp_path / "a.docx").write_bytes(b"")
    assert read_file(tmp_path / "a.docx") == Unreadable(str(tmp_path / "a.docx"), NOT_THIS)


def test_the_content_decides_and_not_the_ending() -> None:
    assert read(EVERY_KIND["a.odt"]) == "Harbour\n\nBoats lie there."
    assert read(EVERY_KIND["a.rtf"]) == "Boats lie there."


@pytest.mark.slow
def test_bombs_are_refused_at_once() -> None:
    start = time.monotonic()
    large = word(paragraph("x" * (130 << 20)))
    assert len(large) < 1 << 20
    assert refusal(large) == "too large once it is unpacked; split it"
    deep = "<w:tbl><w:tr><w:tc>" * 5000 + "</w:tc></w:tr></w:tbl>" * 5000
    assert refusal(word(deep)) == "too large once it is unpacked; split it"
    repeated = open_document(
        "spreadsheet",
        '<table:table table:name="S"><table:table-row table:number-rows-repeated="1048576">'
        '<table:table-cell table:number-columns-repeated="16384" office:value-type="string">'
        "<text:p>x</text:p></table:table-cell></table:table-row></table:table>",
    )
    assert refusal(repeated) == "too large once it is unpacked; split it"
    wide = table(("a",)).replace("<w:p>", '<w:tcPr><w:gridSpan w:val="2000000000"/></w:tcPr><w:p>')
    assert read(word(wide)) == "a"
    assert time.monotonic() - start < 30


def test_entities_of_xml_are_not_expanded(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    for value in (f'SYSTEM "{(tmp_path / "secret").as_uri()}"', '"SECRET"'):
        text = read(word(paragraph("a &x; b"), doctype=f"<!DOCTYPE d [<!ENTITY x {value}>]>"))
        assert "SECRET" not in text
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    text = read(word(paragraph("&l9;"), doctype=f'<!DOCTYPE d [<!ENTITY l0 "ha">{laughs}]>'))
    assert len(text) < 100


def test_no_member_of_a_zip_leaves_it(tmp_path: Path) -> None:
    name = "../" * 20 + str(tmp_path / "evil.txt").lstrip("/")
    assert read(word(paragraph("fine"), parts={name: "x", str(tmp_path / "e.txt"): "x"})) == "fine"
    assert not list(tmp_path.iterdir())


def test_a_picture_that_claims_to_be_huge_is_not_decoded() -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0"
    assert read(word(paragraph("fine"), parts={"word/media/image1.png": png})) == "fine"


def test_lists_within_lists_are_no_text_without_end() -> None:
    depth = 100
    text = read(book("<ul><li>x" * depth + "</li></ul>" * depth))
    assert text.count("- x") == depth
    assert len(text) < 30 * depth


def test_a_member_with_a_wrong_sum_is_refused() -> None:
    data = bytearray(word(paragraph("fine " * 100)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        place = archive.getinfo("word/document.xml").header_offset
    data[place + 30 + len("word/document.xml") + 20] ^= 0xFF
    assert refusal(bytes(data)) == NOT_THIS


def test_which_extra_reads_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [reader_of(name) for name in ("a.DOCX", "b.eml", "c.md", "d")] == [
        "office", "mail", "", "",
    ]  # fmt: skip
    found = format_of("a.docx")
    assert found is not None
    assert found.noun == "Word document"
    assert missing_extra("a.docx") == ""
    for module in ("anydoc", "pypdfium2"):
        monkeypatch.setitem(sys.modules, module, None)
    names = ("a.docx", "a.epub", "a.pdf", "a.eml", "a.txt")
    assert [missing_extra(name) for name in names] == ["office", "office", "pdf", "", ""]


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.docx").write_bytes(EVERY_KIND["a.docx"])
    monkeypatch.setitem(sys.modules, "anydoc", None)
    read = read_file(tmp_path / "a.docx")
    assert isinstance(read, Unreadable)
    assert read.reason == "Word documents need: pip install 'jlocal[office]'"
    assert not read.is_known
