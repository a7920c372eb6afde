"""PDF files written by hand: pages of text in one font, and whatever else a test wants."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence


def stream(data: bytes, entries: str = "") -> bytes:
    """Write a stream object."""
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries.encode(), len(data), data)


def deflated(data: bytes, times: int = 1, entries: str = "") -> bytes:
    """Write a stream object that is compressed, so many times over."""
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
