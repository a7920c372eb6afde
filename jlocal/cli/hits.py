"""What is printed of a hit, for a program and for a person."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jlocal.collection.place import label
from jlocal.printable import printable
from jlocal.progress import say

if TYPE_CHECKING:
    from jlocal.collection.search import Hit

_LINES = 3
_WIDEST = 100


def as_row(hit: Hit) -> dict[str, Any]:
    """Return a hit as JSON values."""
    return {
        "path": hit.path,
        "page": hit.page,
        "first_line": hit.first_line,
        "last_line": hit.last_line,
        "score": round(hit.score, 6),
        "text": hit.text,
    }


def show(hits: list[Hit]) -> None:
    """Print hits for a person."""
    if not hits:
        say("Nothing found.")
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for hit in hits:
        _show(hit, width)


def _show(hit: Hit, width: int) -> None:
    path = printable(_near(hit.path))
    colour = "NO_COLOR" not in os.environ
    place = click.style(path, fg="cyan", bold=True) if colour else path
    place += label(hit.page, hit.first_line)
    score = click.style(f"{hit.score:.3f}", fg="green") if colour else f"{hit.score:.3f}"
    click.echo(f"{score}  {place}")
    for line in wrapped(printable(" ".join(hit.text.split())), width - 7, _LINES):
        click.echo(f"       {line}")


def _near(path: str) -> str:
    """Name a file from here, if it is below this folder."""
    here = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(here)


def wrapped(text: str, columns: int, most: int) -> Iterator[str]:
    """Cut a text to lines that are not wider, as a terminal counts, and at most so many."""
    for number in range(1, most + 1):
        end = _fits(text, columns)
        if end == len(text):
            yield text
            return
        if number == most:
            yield text[: _fits(text, columns - 1)].rstrip() + "…"
            return
        space = text.rfind(" ", 0, end + 1)
        cut = space if space > end // 2 else end
        yield text[:cut]
        text = text[cut:].lstrip()


def _fits(text: str, columns: int) -> int:
    """How many characters fit."""
    used = 0
    for place, letter in enumerate(text):
        wide = unicodedata.east_asian_width(letter) in "WF"
        used += 0 if unicodedata.category(letter) in ("Mn", "Me", "Cf") else 1 + wide
        if used > columns:
            return place
    return len(text)
