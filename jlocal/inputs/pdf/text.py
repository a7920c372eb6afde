"""The child process that reads the pages of PDF files, and reports unreadable parts."""

from __future__ import annotations

import re

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from jlocal.errors import TextError
from jlocal.inputs.pdf.damage import is_corrupt, is_cut
from jlocal.inputs.pdf.page import State, read_page
from jlocal.inputs.serve import serve

# PDFium limits each stream and tree of a file. This limit is for the whole file.
_CHARACTERS = 64 << 20
# Some files begin with the header of the e-mail or HTTP response that they came in.
_BEGINS_WITHIN = 64 << 10
_COLLECTION = re.compile(rb"/Collection\s*(?:<<|\d+\s+\d+\s+R)")

_LOSSES = {
    State.BROKEN: "damaged",
    State.UNDECODABLE: "its fonts do not tell which characters they show; OCR can read it",
    State.HARMED: "some letters cannot be told from its fonts, and are \ufffd",
    State.PICTURE: "only a picture; it may be scanned, which needs OCR first",
}
_SCANNED = "no text in it; it may be scanned, which needs OCR first"
_CUT = "damaged: its end is missing, and text may be"
_CORRUPT = "damaged: a part of it cannot be unpacked, and text may be missing"
_PORTFOLIO = "a portfolio, whose attached files are not read; save them as files of their own"


def read(data: bytes) -> dict[str, object]:
    """Read a file.

    Returns:
        `pages`: the text of each page; and `losses`: pairs of page indices, empty for the whole
        file, and a reason.

    Raises:
        TextError: the file is not a PDF file, is damaged, encrypted or too large, or has no text.

    """
    begin = data[:_BEGINS_WITHIN].find(b"%PDF-")
    if begin < 0:
        raise TextError("not a PDF file")
    data = data[begin:]
    with _opened(data) as document:
        form = document.get_formtype()
        if form == raw.FORMTYPE_ACRO_FORM:
            document.init_forms()
        texts, states = _pages(document)
        attached = document.count_attachments()
    has_text = any(map(str.strip, texts))
    _refuse_xfa(form, texts)
    losses: list[tuple[list[int], str]] = []
    if attached and (not has_text or _is_portfolio(data, texts)):
        losses.append(([], _PORTFOLIO))
    if is_cut(data):
        losses.append(([], _CUT))
    elif is_corrupt(data):
        losses.append(([], _CORRUPT))
    for state, reason in _LOSSES.items():
        pages = [index for index, found in enumerate(states) if found == state]
        # Most documents have pictures; a document of half pictures lacks much of its text.
        if pages and (state != State.PICTURE or 2 * len(pages) >= len(states)):
            losses.append((pages, reason))
    if not has_text:
        raise TextError(_no_text(losses))
    return {"pages": texts, "losses": losses}


def _opened(data: bytes) -> pdfium.PdfDocument:
    # pypdfium2 reports the last error of any file as the reason why this file has no pages.
    handle = raw.FPDF_LoadMemDocument64(data, len(data), None)
    if handle:
        document = pdfium.PdfDocument(handle)
        if len(document) < 1:
            document.close()
            raise TextError("damaged: it has no pages")
        return document
    if raw.FPDF_GetLastError() in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
        raise TextError("encrypted; save it without a password first")
    raise TextError(_CUT if is_cut(data) else "damaged: not readable as PDF")


def _pages(document: pdfium.PdfDocument) -> tuple[list[str], list[State]]:
    texts, states = [], []
    left = _CHARACTERS
    for index in range(len(document)):
        page = read_page(document, index)
        texts.append(page.text)
        states.append(page.state)
        left -= len(page.text)
        if left < 0:
            raise TextError(f"more than {_CHARACTERS >> 20} million characters of text; split it")
    return texts, states


def _refuse_xfa(form: int, texts: list[str]) -> None:
    """Refuse a form that only Adobe's programs lay out; its pages hold a placeholder."""
    is_placeholder = len(texts) == 1 and "please wait" in texts[0].lower()
    if form == raw.FORMTYPE_XFA_FULL or (form == raw.FORMTYPE_XFA_FOREGROUND and is_placeholder):
        raise TextError("an XFA form, which only Adobe's programs show; print it to a PDF file")


def _is_portfolio(data: bytes, texts: list[str]) -> bool:
    return bool(_COLLECTION.search(data)) or (len(texts) == 1 and "portfolio" in texts[0].lower())


def _no_text(losses: list[tuple[list[int], str]]) -> str:
    reason = losses[0][1] if losses else _SCANNED
    return _SCANNED if reason == _LOSSES[State.PICTURE] else reason


if __name__ == "__main__":
    serve(read)
