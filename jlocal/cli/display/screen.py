"""The capabilities of standard output: columns, rows, colours, links, letters."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import click

ColorChoice = Literal["auto", "always", "never"]

# Lines longer than this are hard to read.
_WIDEST = 100
# VTE 0.50 crashed on links.
_FIRST_VTE_WITH_LINKS = 5001

color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="When to use colours; auto uses them on a terminal, and obeys NO_COLOR, FORCE_COLOR and "
    "CLICOLOR.",
)


@dataclass(frozen=True)
class Screen:
    """The capabilities of standard output.

    Attributes:
        is_terminal: whether a person reads it as it is printed.
        columns: how wide it is, as far as lines stay readable.
        rows: how high it is.
        has_color: whether it takes escape sequences for colours and bold letters.
        has_links: whether it takes escape sequences for links.
        is_unicode: whether its encoding has the signs that are printed around results.
        encoding: of its output.

    """

    is_terminal: bool
    columns: int
    rows: int
    has_color: bool
    has_links: bool
    is_unicode: bool
    encoding: str = "utf-8"

    @classmethod
    def of_stdout(cls, color: ColorChoice = "auto") -> Screen:
        """Look at standard output and at the environment."""
        is_terminal = sys.stdout.isatty()
        size = shutil.get_terminal_size()
        has_color = _has_color(color, is_terminal=is_terminal)
        return cls(
            is_terminal=is_terminal,
            columns=max(min(size.columns, _WIDEST), 40),
            rows=size.lines,
            has_color=has_color,
            has_links=_has_links(is_terminal=is_terminal and has_color),
            is_unicode=_encodes("●○›…·", sys.stdout.encoding),
            encoding=sys.stdout.encoding or "ascii",
        )

    @property
    def ellipsis(self) -> str:
        """The sign of omitted text."""
        return "…" if self.is_unicode else "..."

    @property
    def arrow(self) -> str:
        """The separator of headings."""
        return "›" if self.is_unicode else ">"

    def encodable(self, text: str) -> str:
        """Escape the letters that the encoding lacks, so that they are counted as printed."""
        if self.is_unicode:
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def style(self, text: str, **style: bool | str) -> str:
        """Add escape sequences to a printable text, as `click.style` does."""
        return click.style(text, **style) if self.has_color and text else text  # type: ignore[arg-type]

    def link(self, text: str, path: str) -> str:
        """Make a printable text a link to a file, where the terminal knows links."""
        if not self.has_links or not text:
            return text
        try:
            name = Path(path).as_posix() if os.name == "nt" else os.fsencode(path)
        except UnicodeEncodeError:  # a name that this locale cannot write
            return text
        slash = "/" if os.name == "nt" else ""
        url = f"file://{_host()}{slash}{quote(name)}"
        return f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\"


def _has_color(color: ColorChoice, *, is_terminal: bool) -> bool:
    environment = os.environ.get
    if color != "auto":
        return color == "always"
    if environment("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if value := environment(name):
            return value.lower() not in ("0", "false")
    if environment("CLICOLOR") == "0" or environment("TERM") == "dumb":
        return False
    return is_terminal


def _has_links(*, is_terminal: bool) -> bool:
    environment = os.environ.get
    if value := environment("FORCE_HYPERLINK"):
        return value.lower() not in ("0", "false")
    if not is_terminal or environment("TERM", "") in ("dumb", "linux"):
        return False
    vte = environment("VTE_VERSION", "")
    return not vte.isdecimal() or int(vte) >= _FIRST_VTE_WITH_LINKS


def _encodes(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _host() -> str:
    # A terminal may show another machine, and then must not open a file of its own.
    return quote(socket.gethostname())
