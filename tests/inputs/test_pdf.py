"""PDF files: what is read of them, and which parts are reported."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from jlocal.inputs.pdf.reader import Loss, Pdf, read_pdf
from support.pdfs import annotated, attached, line, one_page, pdf, refusal, stream, text_of

DATA = Path(__file__).parents[1] / "data" / "pdf"
PAGES = ("Backups run every night.\nThey are kept.", "", "The budget is 300 €. Größe 日本 🙂")


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


def test_the_cover_of_a_portfolio_is_read_and_the_rest_reported() -> None:
    read = read_pdf(attached(line("Open with a newer program"), "/Collection << /View /D >>"))
    assert read.pages == ["Open with a newer program"]
    assert [loss.place for loss in read.losses] == [""]
    assert "attached files are not read" in read.losses[0].reason
    # An invoice with its data attached is no portfolio.
    assert text_of(attached(line("Invoice"))) == "Invoice"


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


def test_losses_name_pages_as_people_count_them() -> None:
    assert Loss((0, 2, 3, 4, 6), "").place == "p. 1, 3-5, 7"
    assert Loss((), "").place == ""
    assert Loss(tuple(range(0, 100, 2)), "").place == "p. 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, …"
