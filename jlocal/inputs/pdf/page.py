"""Reading one page of a PDF file: its characters, and properties that PDFium does not report."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from jlocal.inputs.pdf.characters import Characters, legible
from jlocal.inputs.pdf.order import Box, reading_order

# Notes that people write on a page; links and fields are something else.
_NOTES = {
    raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_LINE, raw.FPDF_ANNOT_SQUARE,
    raw.FPDF_ANNOT_CIRCLE, raw.FPDF_ANNOT_POLYGON, raw.FPDF_ANNOT_POLYLINE,
    raw.FPDF_ANNOT_HIGHLIGHT, raw.FPDF_ANNOT_UNDERLINE, raw.FPDF_ANNOT_SQUIGGLY,
    raw.FPDF_ANNOT_STRIKEOUT, raw.FPDF_ANNOT_STAMP, raw.FPDF_ANNOT_CARET, raw.FPDF_ANNOT_INK,
}  # fmt: skip
_NOT_SHOWN = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW

# PDFium's character for a hyphen at the end of a line; a font may have it for something else.
_HYPHEN = 2
# PDFium leaves out the text of narrower objects.
_NARROW = 0.02
_DEEPEST = 15


class State(Enum):
    """The state of a page."""

    READ = "read"
    BLANK = "blank"
    PICTURE = "picture"
    HARMED = "harmed"
    UNDECODABLE = "undecodable"
    BROKEN = "broken"


@dataclass(frozen=True)
class Page:
    """A page's text, which is empty unless its state is READ or HARMED, except for notes."""

    text: str
    state: State


def read_page(document: pdfium.PdfDocument, index: int) -> Page:
    """Read a page with its form fields and notes."""
    try:
        page = document.get_page(index)
    except pdfium.PdfiumError:
        return Page("", State.BROKEN)
    notes = []
    if raw.FPDFPage_GetAnnotCount(page):
        notes = list(_notes(page))
        # Fields and notes become part of the page, which is then reloaded.
        flat = raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
        if flat == raw.FLATTEN_SUCCESS:
            page.close()
            page = document.get_page(index)
    try:
        return _read(page, notes)
    finally:
        page.close()


def _read(page: pdfium.PdfPage, notes: list[str]) -> Page:
    content = _Content()
    content.add(page)
    textpage = raw.FPDFText_LoadPage(page)
    if not textpage:
        return Page("", State.BROKEN)
    try:
        text = legible(_characters(textpage))
    finally:
        raw.FPDFText_ClosePage(textpage)
    if text.is_mostly_undecodable:
        state, shown = State.UNDECODABLE, ""
    elif text.text:
        state, shown = State.HARMED if text.is_harmed else State.READ, text.text
    elif content.texts and not text.has_spaces:
        state, shown = State.UNDECODABLE, ""
    else:
        state, shown = State.PICTURE if content.pictures else State.BLANK, ""
    seen = _words(shown)
    for note in notes:
        # Many notes are shown on the page, and some repeat the marked text.
        if _words(note) not in seen:
            shown = f"{shown}\n{note}".lstrip("\n")
    return Page(shown, state)


def _characters(textpage: raw.FPDF_TEXTPAGE) -> Characters:
    """Read each character; in PDFium's whole text, U+FFFE has two meanings."""
    code_of, is_guess = raw.FPDFText_GetUnicode, raw.FPDFText_HasUnicodeMapError
    codes = [code_of(textpage, place) for place in range(raw.FPDFText_CountChars(textpage))]
    if codes and max(codes) > sys.maxunicode:
        codes = [code if code <= sys.maxunicode else 0 for code in codes]
    edges = [ctypes.c_double() for _ in range(4)]

    def box(place: int) -> Box:
        raw.FPDFText_GetCharBox(textpage, place, *edges)
        left, right, bottom, _ = (edge.value for edge in edges)
        return Box(left, right, bottom)

    order = reading_order(codes, box)
    return Characters(
        [codes[place] for place in order],
        guesses={new for new, place in enumerate(order) if is_guess(textpage, place) == 1},
        hyphens={
            new
            for new, place in enumerate(order)
            if codes[place] == _HYPHEN and raw.FPDFText_IsHyphen(textpage, place) == 1
        },
    )


@dataclass
class _Content:
    """The kinds of objects on a page."""

    texts: int = 0
    pictures: int = 0
    _edges: list[ctypes.c_float] = field(default_factory=lambda: [ctypes.c_float() for _ in "lbrt"])

    def add(self, page: pdfium.PdfPage) -> None:
        for index in range(raw.FPDFPage_CountObjects(page)):
            self._add(raw.FPDFPage_GetObject(page, index), 0)

    def _add(self, item: raw.FPDF_PAGEOBJECT, depth: int) -> None:
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            self.texts += 1
            self._widen(item)
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            self.pictures += 1
        elif kind == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
            for index in range(raw.FPDFFormObj_CountObjects(item)):
                self._add(raw.FPDFFormObj_GetObject(item, index), depth + 1)

    def _widen(self, text: raw.FPDF_PAGEOBJECT) -> None:
        """Widen a text without width, as from a missing font, to the width of a stroke."""
        left, bottom, right, top = self._edges
        raw.FPDFPageObj_GetBounds(text, left, bottom, right, top)
        if right.value - left.value < _NARROW:
            raw.FPDFTextObj_SetTextRenderMode(text, raw.FPDF_TEXTRENDERMODE_STROKE)
            # PDFium measures again only after a change of position.
            raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, 0, 0)


def _notes(page: pdfium.PdfPage) -> Iterator[str]:
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        note = raw.FPDFPage_GetAnnot(page, index)
        if not note:
            continue
        with contextlib.closing(_Closing(note)):
            hidden = raw.FPDFAnnot_GetFlags(note) & _NOT_SHOWN
            if raw.FPDFAnnot_GetSubtype(note) in _NOTES and not hidden:
                text = _string(note, b"Contents").strip()
                if text:
                    yield text


@dataclass(frozen=True)
class _Closing:
    note: raw.FPDF_ANNOTATION

    def close(self) -> None:
        raw.FPDFPage_CloseAnnot(self.note)


def _string(note: raw.FPDF_ANNOTATION, key: bytes) -> str:
    size = raw.FPDFAnnot_GetStringValue(note, key, None, 0)
    buffer = (ctypes.c_ushort * (size // 2))()
    raw.FPDFAnnot_GetStringValue(note, key, buffer, size)
    text = bytes(buffer).decode("utf-16-le", "replace").rstrip("\0")
    return re.sub(r"\r\n?", "\n", text).replace("\0", "\ufffd").replace("\f", "\n")


def _words(text: str) -> str:
    return "".join(text.split())
