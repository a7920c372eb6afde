"""Text out of files that are not plain text, which are hostile until they are read.

`pdf` and `flowing` are asked; modules named `…_text` do the work, in child processes, so that no
file can take the caller's time, memory or process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from jlocal import extras

# What stands between the pages of a PDF file's text, as it does in what other tools write.
PAGE_BREAK = "\f"

# Collections remember what read a file; of another reader the same file may have another text.
READERS = {"html": "html2", "pdf": "pdf2", "office": "office1", "mail": "mail1"}


@dataclass(frozen=True)
class Format:
    """A kind of file, and what reads it.

    Attributes:
        reader: "html", "pdf", "office" or "mail".
        noun: what a person calls such a file, as in "3 Word documents".
        extra: the extra of jlocal that brings the reader; "" where nothing is needed.

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
}


def format_of(path: str | PurePath) -> Format | None:
    """Tell by its ending what reads a file; None where the file is the text itself."""
    return _FORMATS.get(PurePath(path).suffix.lower())


def kind_of(path: str | PurePath) -> str:
    """Tell by its ending which reader gives a file's text; "" where the file is the text."""
    found = format_of(path)
    return found.reader if found else ""


def missing_extra(path: str | PurePath) -> str:
    """Name the extra that must be installed before a file can be read; "" if there is none."""
    found = format_of(path)
    if found is None or not found.extra or extras.is_installed(found.extra):
        return ""
    return found.extra


def need(path: str | PurePath) -> None:
    """Check that what reads a file is installed, without importing it.

    Raises:
        ExtraError: it is not.

    """
    found, extra = format_of(path), missing_extra(path)
    if found and extra:
        raise extras.missing(extra, f"{found.noun}s need")
