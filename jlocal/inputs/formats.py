"""The file formats other than plain text, and their readers.

`pdf` and `flowing` start child processes that read the files, so that no hostile file takes the
caller's time, memory or process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from jlocal import extras

# The separator of the pages of a PDF file's text, as in the output of pdftotext.
PAGE_BREAK = "\f"

# Collections store the reader of each file: another reader may return another text.
READERS = {
    "html": "html2",
    "pdf": "pdf2",
    "office": "office1",
    "mail": "mail1",
    "notebook": "notebook1",
}


@dataclass(frozen=True)
class Format:
    """A file format and its reader.

    Attributes:
        reader: "html", "pdf", "office", "mail" or "notebook".
        noun: the usual name of a file of this format, as in "3 Word documents".
        extra: the extra of jlocal that installs the reader; "" if none is needed.

    """

    reader: str
    noun: str
    extra: str = ""


def _office(noun: str) -> Format:
    return Format("office", noun, "office")


_HTML = Format("html", "HTML page", "html")
_WORD, _SLIDES, _SHEETS = map(_office, ("Word document", "PowerPoint file", "Excel file"))
_FORMATS = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), _HTML),
    ".pdf": Format("pdf", "PDF file", "pdf"),
    **dict.fromkeys((".docx", ".docm", ".doc"), _WORD),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".ppsm", ".ppt", ".pps"), _SLIDES),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls"), _SHEETS),
    **dict.fromkeys((".odt", ".odp", ".ods"), _office("OpenDocument file")),
    ".rtf": _office("RTF file"),
    ".epub": _office("EPUB book"),
    ".eml": Format("mail", "e-mail"),
    ".ipynb": Format("notebook", "notebook"),
}


def format_of(path: str | PurePath) -> Format | None:
    """Return the format of a file, by its ending; None for plain text."""
    return _FORMATS.get(PurePath(path).suffix.lower())


def reader_of(path: str | PurePath) -> str:
    """Return the reader of a file, by its ending; "" for plain text."""
    file_format = format_of(path)
    return file_format.reader if file_format else ""


def missing_extra(path: str | PurePath) -> str:
    """Return the extra that must be installed to read a file; "" if none is missing."""
    file_format = format_of(path)
    if file_format is None or not file_format.extra or extras.is_installed(file_format.extra):
        return ""
    return file_format.extra


def require_reader(path: str | PurePath) -> None:
    """Check that the reader of a file is installed, without importing it.

    Raises:
        ExtraError: the reader is not installed.

    """
    file_format, extra = format_of(path), missing_extra(path)
    if file_format and extra:
        raise extras.missing(extra, f"{file_format.noun}s need")
