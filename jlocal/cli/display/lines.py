"""Lines of text that end between words on a terminal."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator

from jlocal.cli import output
from jlocal.excerpts.columns import width, wrapped
from jlocal.printable import printable
from jlocal.progress import log


def log_wrapped(text: str) -> None:
    """Print on stderr; a terminal's lines end between words."""
    if not sys.stderr.isatty():
        log(text)
        return
    said = printable(text).strip()
    indent = "  " if text.startswith(" ") else ""
    for start, end in wrapped(said, shutil.get_terminal_size().columns - len(indent), len(said)):
        log(indent + said[start:end])


def print_field(name: str, value: str, indent: int) -> None:
    """Print a name and its value, which begins at a column; a terminal's lines end between words.

    A word that is wider than a line, such as a path, stays in one piece, so that it can be copied.
    """
    value = printable(value)
    lines = [value]
    if sys.stdout.isatty():
        lines = list(_words_in_lines(value, shutil.get_terminal_size().columns - indent))
    for line in lines or [""]:
        output.line(f"{name:<{indent}}{line}".rstrip())
        name = ""


def _words_in_lines(text: str, columns: int) -> Iterator[str]:
    line = ""
    for gap, word in re.findall(r"(\s*)(\S+)", text):
        longer = f"{line}{gap}{word}" if line else word
        if line and width(longer) > columns:
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line
