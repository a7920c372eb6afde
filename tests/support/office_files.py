"""Small office documents, e-books and e-mails, written with nothing but the standard library."""

from __future__ import annotations

import io
import zipfile
from email.message import EmailMessage

_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "application/vnd.openxmlformats-officedocument."
_ODF = " ".join(
    f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for short, name in {
        "office": "office", "text": "text", "table": "table", "draw": "drawing",
    }.items()
)  # fmt: skip


def zipped(members: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            plain = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, plain)
    return file.getvalue()


def relations(*targets: tuple[str, str]) -> str:
    """Return a part that refers to other parts, by their types and paths."""
    items = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, start=1)
    )
    home = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'{_XML}<Relationships xmlns="{home}">{items}</Relationships>'


def _package(kind: str, main: str, others: dict[str, str], parts: dict[str, str | bytes]) -> bytes:
    """Return an Office Open XML file whose main part is of a type, with the types of others."""
    types = "".join(
        f'<Override PartName="/{path}" ContentType="{_TYPES}{name}+xml"/>'
        for path, name in {main: f"{kind}.main", **others}.items()
    )
    content_types = (
        f'{_XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{types}</Types>'
    )
    named = relations(("officeDocument", main))
    return zipped({"[Content_Types].xml": content_types, "_rels/.rels": named, **parts})


def paragraph(text: str, style: str = "") -> str:
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{named}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def word(*blocks: str, doctype: str = "", parts: dict[str, str | bytes] | None = None) -> bytes:
    """Return a Word document of blocks of XML, with styles Heading1 to Heading3."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{n}"><w:name w:val="heading {n}"/>'
        f'<w:pPr><w:outlineLvl w:val="{n - 1}"/></w:pPr></w:style>'
        for n in (1, 2, 3)
    )
    return _package(
        "wordprocessingml.document",
        "word/document.xml",
        {
            "word/styles.xml": "wordprocessingml.styles",
            "word/footnotes.xml": "wordprocessingml.footnotes",
            "word/comments.xml": "wordprocessingml.comments",
            "word/header1.xml": "wordprocessingml.header",
        },
        {
            "word/document.xml": f"{_XML}{doctype}<w:document {_W}><w:body>{''.join(blocks)}"
            "</w:body></w:document>",
            "word/styles.xml": f"{_XML}<w:styles {_W}>{styles}</w:styles>",
            "word/_rels/document.xml.rels": relations(
                ("styles", "styles.xml"),
                ("footnotes", "footnotes.xml"),
                ("comments", "comments.xml"),
                ("header", "header1.xml"),
            ),
            **(parts or {}),
        },
    )


def word_part(name: str, content: str) -> str:
    """Return footnotes, comments or a header of a Word document."""
    return f"{_XML}<w:{name} {_W}>{content}</w:{name}>"


def table(*rows: tuple[str, ...]) -> str:
    lines = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{line}</w:tr>' for line in lines)}</w:tbl>"


def slides(*pages: tuple[str, str], notes: str = "") -> bytes:
    """Return a PowerPoint file: titles and texts, and the speaker's notes for the first slide."""
    spaces = (
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
        f'xmlns:r="{_OFFICE}"'
    )

    def shape(number: int, kind: str, text: str) -> str:
        return (
            f'<p:sp><p:nvSpPr><p:cNvPr id="{number}" name="s{number}"/><p:cNvSpPr/>'
            f'<p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr><p:spPr/>'
            f"<p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        )

    def tree(root: str, *shapes: str) -> str:
        return (
            f"{_XML}<p:{root} {spaces}><p:cSld><p:spTree>{''.join(shapes)}</p:spTree></p:cSld>"
            f"</p:{root}>"
        )

    names = [f"slides/slide{n}.xml" for n in range(1, len(pages) + 1)]
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(pages) + 1))
    parts: dict[str, str | bytes] = {
        "ppt/presentation.xml": f"{_XML}<p:presentation {spaces}><p:sldIdLst>{listed}"
        "</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(*(("slide", name) for name in names)),
    }
    for name, (title, text) in zip(names, pages, strict=True):
        parts[f"ppt/{name}"] = tree("sld", shape(2, "title", title), shape(3, "body", text))
    if notes:
        parts["ppt/notesSlides/notesSlide1.xml"] = tree("notes", shape(2, "body", notes))
        parts["ppt/slides/_rels/slide1.xml.rels"] = relations(
            ("notesSlide", "../notesSlides/notesSlide1.xml")
        )
    kinds = dict.fromkeys((f"ppt/{name}" for name in names), "presentationml.slide")
    return _package(
        "presentationml.presentation",
        "ppt/presentation.xml",
        kinds | {"ppt/notesSlides/notesSlide1.xml": "presentationml.notesSlide"},
        parts,
    )


def sheet(name: str, *rows: tuple[str | float, ...]) -> bytes:
    """Return an Excel file with one sheet."""
    home = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

    def cell(value: str | float) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    return _package(
        "spreadsheetml.sheet",
        "xl/workbook.xml",
        {"xl/worksheets/sheet1.xml": "spreadsheetml.worksheet"},
        {
            "xl/workbook.xml": f'{_XML}<workbook xmlns="{home}" xmlns:r="{_OFFICE}"><sheets>'
            f'<sheet name="{name}" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(("worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f'{_XML}<worksheet xmlns="{home}"><sheetData>{lines}'
            "</sheetData></worksheet>",
        },
    )


def open_document(kind: str, content: str, *, encrypted: bool = False) -> bytes:
    """Return an OpenDocument file: "text", "spreadsheet" or "presentation"."""
    key = '<manifest:encryption-data manifest:checksum-type="SHA1" manifest:checksum="x"/>'
    manifest = (
        f'{_XML}<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:'
        'manifest:1.0"><manifest:file-entry manifest:full-path="content.xml" '
        f'manifest:media-type="text/xml">{key if encrypted else ""}</manifest:file-entry>'
        "</manifest:manifest>"
    )
    body = (
        f"{_XML}<office:document-content {_ODF}><office:body><office:{kind}>{content}"
        f"</office:{kind}></office:body></office:document-content>"
    )
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": b"\x99\x12" * 100 if encrypted else body,
            "META-INF/manifest.xml": manifest,
        }
    )


def book(*chapters: str) -> bytes:
    """Return an EPUB book whose chapters are bodies of XHTML."""
    numbers = range(1, len(chapters) + 1)
    items = "".join(
        f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in numbers
    )
    order = "".join(f'<itemref idref="c{n}"/>' for n in numbers)
    package = (
        f'{_XML}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
        'unique-identifier="i"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        '<dc:identifier id="i">x</dc:identifier><dc:title>Book</dc:title>'
        "<dc:language>en</dc:language></metadata>"
        f"<manifest>{items}</manifest><spine>{order}</spine></package>"
    )
    container = (
        f'{_XML}<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<rootfiles><rootfile full-path="b.opf" media-type="application/oebps-package+xml"/>'
        "</rootfiles></container>"
    )
    pages = {
        f"c{n}.xhtml": f'{_XML}<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title>'
        f"</head><body>{text}</body></html>"
        for n, text in enumerate(chapters, start=1)
    }
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "b.opf": package,
            **pages,
        }
    )


def mail(
    text: str = "",
    *,
    html: str = "",
    subject: str = "Budget",
    attached: tuple[str, ...] = (),
) -> bytes:
    message = EmailMessage()
    message["From"] = "Ána <ana@example.org>"
    message["To"] = "ben@example.org"
    message["Date"] = "Mon, 04 Mar 2024 10:00:00 +0100"
    message["Subject"] = subject
    if text:
        message.set_content(text)
    if html and text:
        message.add_alternative(html, subtype="html")
    elif html:
        message.set_content(html, subtype="html")
    for name in attached:
        message.add_attachment(
            b"SECRET", maintype="application", subtype="octet-stream", filename=name
        )
    return bytes(message)


EVERY_KIND = {
    "a.docx": word(paragraph("Harbour", "Heading1"), paragraph("Boats lie there.")),
    "a.pptx": slides(("Harbour", "Boats lie there.")),
    "a.xlsx": sheet("Harbour", ("Boats", 3.5)),
    "a.odt": open_document(
        "text", '<text:h text:outline-level="1">Harbour</text:h><text:p>Boats lie there.</text:p>'
    ),
    "a.ods": open_document(
        "spreadsheet",
        '<table:table table:name="Harbour"><table:table-row><table:table-cell '
        'office:value-type="string"><text:p>Boats</text:p></table:table-cell>'
        "</table:table-row></table:table>",
    ),
    "a.odp": open_document(
        "presentation",
        '<draw:page draw:name="Harbour"><draw:frame><draw:text-box><text:p>Boats lie there.'
        "</text:p></draw:text-box></draw:frame></draw:page>",
    ),
    "a.epub": book("<h1>Harbour</h1><p>Boats lie there.</p>"),
    "a.rtf": rb"{\rtf1\ansi{\fonttbl\f0 Arial;}\f0 Boats lie there.\par}",
}
