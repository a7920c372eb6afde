"""PDF files written by hand: pages of text in one font, and other objects that tests need."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence

import pytest

from jlocal.errors import TextError
from jlocal.inputs.pdf.reader import read_pdf


def stream(data: bytes, entries: str = "") -> bytes:
    """Write a stream object."""
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries.encode(), len(data), data)


def deflated(data: bytes, times: int = 1, entries: str = "") -> bytes:
    """Write a stream object that is compressed several times."""
    for _ in range(times):
        data = zlib.compress(data, 9)
    return stream(data, f"/Filter [{' /FlateDecode' * times} ] {entries}")


def joined(objects: Sequence[bytes], trailer: str = "") -> bytes:
    """Write a file of objects, numbered from 1; the first is the catalogue."""
    data = io.BytesIO()
    data.write(b"%PDF-1.7\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(data.tell())
        data.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    xref = data.tell()
    data.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        data.write(b"%010d 00000 n \n" % place)
    data.write(
        b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, trailer.encode(), xref)
    )
    return data.getvalue()


def pdf(*pages: str | bytes) -> bytes:
    """Write a file with these pages; bytes are a page's content stream object as it stands."""
    letters = sorted(set("".join(page for page in pages if isinstance(page, str))) - {"\n"})
    assert len(letters) <= 255
    codes = {letter: number for number, letter in enumerate(letters, start=1)}
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /FirstChar 0 /LastChar 255 "
        b"/Widths [%s] /ToUnicode 4 0 R >>" % (b"500 " * 256),
        to_unicode({code: letter.encode("utf-16-be") for letter, code in codes.items()}),
    ]
    for number, page in enumerate(pages):
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R >> >> >>" % (6 + 2 * number),
            page if isinstance(page, bytes) else deflated(_content(page, codes)),
        ]
    return joined(objects)


def _content(text: str, codes: dict[str, int]) -> bytes:
    lines = [
        b"<%s> Tj T*" % bytes(codes[letter] for letter in line).hex().encode()
        for line in text.split("\n")
    ]
    return b"BT /F 12 Tf 14 TL 50 800 Td\n" + b"\n".join(lines) + b"\nET"


def to_unicode(codes: Mapping[int, bytes]) -> bytes:
    """Write a stream object that says what the codes of a font mean, in UTF-16."""
    lines = [f"<{code:02x}> <{meaning.hex()}>" for code, meaning in codes.items()]
    blocks = [lines[start : start + 100] for start in range(0, len(lines), 100)]
    body = "\n".join(
        f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks
    )
    return stream(
        (
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
            "1 begincodespacerange <00> <ff> endcodespacerange\n"
            f"{body}\nendcmap end end"
        ).encode()
    )


HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"


def one_page(
    content: str | bytes,
    *objects: bytes,
    font: bytes = HELVETICA,
    catalog: str = "",
    page: str = "",
) -> bytes:
    """Write a file of one page.

    Args:
        content: its content stream; the font is /F1.
        objects: more objects, numbered from 6.
        font: the font, object 5.
        catalog: more entries of the catalogue.
        page: more entries of the page.

    """
    data = content if isinstance(content, bytes) else content.encode("cp1252")
    return joined(
        [
            f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode(),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
            b"/Resources << /Font << /F1 5 0 R >> /XObject << /X1 6 0 R >> >> %s >>"
            % page.encode(),
            stream(data),
            font,
            *objects,
        ]
    )


def line(text: str, x: float = 72, y: float = 700) -> str:
    """Write a line in a content stream of `one_page`."""
    return f"BT /F1 12 Tf {x} {y} Td ({text}) Tj ET "


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


def attached(content: str, entries: str = "") -> bytes:
    return one_page(
        content,
        stream(b"attached words", "/Type /EmbeddedFile"),
        b"<< /Type /Filespec /F (inner.txt) /EF << /F 6 0 R >> >>",
        catalog=f"/Names << /EmbeddedFiles << /Names [(inner.txt) 7 0 R] >> >> {entries}",
    )


def drawn_from_left_to_right(*words: str) -> bytes:
    """Write words as browsers print them: glyph by glyph, each with its meaning."""
    glyphs = "".join(
        f"/Span << /ActualText <FEFF{letter.encode('utf-16-be').hex()}> >> BDC <41> Tj EMC "
        for letter in " ".join(words)[::-1]
    )
    return one_page(f"BT /ReversedChars BMC /F1 12 Tf 72 700 Td {glyphs} EMC ET")


def _forever() -> bytes:
    """Write a file whose pages share one long stream, which a limit for single streams misses."""
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
