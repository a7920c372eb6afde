"""Text out of HTML pages and PDF files, which are hostile until they are read.

`pdf` and `html` are asked; `pdf_text` and `html_text` do the work, in child processes, so that no
file can take the caller's time, memory or process.
"""

from __future__ import annotations

import importlib.util
from pathlib import PurePath

from jlocal.errors import ExtraError

# What stands between the pages of a PDF file's text, as it does in what other tools write.
PAGE_BREAK = "\f"

# Collections remember what read a file; of another reader the same file may have another text.
READERS = {"html": "html2", "pdf": "pdf2"}

_KINDS = {".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf"}


def kind_of(path: str | PurePath) -> str:
    """Tell by its ending how a file's text is had: "html", "pdf", or "" where it is the text."""
    return _KINDS.get(PurePath(path).suffix.lower(), "")


def need(module: str, extra: str, what: str) -> None:
    """Check that a module of an extra is installed, without importing it.

    Raises:
        ExtraError: it is not.

    """
    if importlib.util.find_spec(module) is None:
        raise ExtraError(f"{what}, which needs: pip install 'jlocal[{extra}]'")
