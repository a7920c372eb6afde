"""Lines of text that end between words on a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

from jlocal.excerpts.columns import wrapped
from jlocal.printable import printable
from jlocal.progress import log


def log_wrapped(text: str) -> None:
    """Print on stderr; a terminal's lines end between words."""
    if not sys.stderr.isatty():
        log(text)
        return
    said = printable(text).strip()
    indent = "  " if text.startswith(" ") else ""
    for line in _broken(said, shutil.get_terminal_size().columns - len(indent)):
        log(indent + line)


def _broken(text: str, columns: int) -> Iterator[str]:
    for start, end in wrapped(text, columns, len(text)):
        yield text[start:end]
