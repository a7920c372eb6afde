"""Print hits, as JSON values or for a person."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal.cli import output
from jlocal.cli.display.screen import Screen
from jlocal.collection.location import label
from jlocal.excerpts.code import is_code
from jlocal.excerpts.columns import clipped, clipped_left, width
from jlocal.excerpts.excerpt import Line, excerpt, marked
from jlocal.excerpts.terms import Terms
from jlocal.filenames import portable
from jlocal.printable import printable
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.search.hits import Hit

_DOTS = 5
_INDENT = 3
# Lines of an excerpt: where nobody sees the end of the screen, and at most.
_LINES, _MOST_LINES = 3, 6
# The command, what stands below the hits, and the shell's next prompt.
_AROUND = 3
# The fewest columns for a heading.
_HEADING = 12
_STATES = {"changed": "changed since", "missing": "missing"}


def as_row(hit: Hit) -> dict[str, Any]:
    """Return a hit as JSON values."""
    return {
        "path": hit.path if hit.id is not None else portable(hit.path),
        "page": hit.page,
        "first_line": hit.first_line,
        "last_line": hit.last_line,
        "score": round(hit.score, 6),
        "cosine": None if hit.cosine is None else round(hit.cosine, 6),
        "bm25": None if hit.bm25 is None else round(hit.bm25, 6),
        "relevance": round(hit.relevance, 3),
        "headings": list(hit.headings),
        "text": hit.text,
        "state": hit.state,
        "others": [
            {
                "path": location.name,
                "page": location.page,
                "first_line": location.lines[0],
                "last_line": location.lines[1],
            }
            for location in hit.others
        ],
        "id": hit.id,
        "metadata": None if hit.metadata is None else dict(hit.metadata),
    }


def print_paths(hits: Sequence[Hit], end: str) -> None:
    """Print the path of each file once: from the current folder, where the file is below it."""
    for path in dict.fromkeys(hit.path for hit in hits):
        current_folder = f"{Path.cwd()}{os.sep}"
        name = path.removeprefix(current_folder)
        # A path that begins with a dash would be an option of the next program.
        output.path(Path(name) if name[:1] != "-" else Path(path), end)


def show(hits: Sequence[Hit], query: str, screen: Screen, advice: str = "") -> None:
    """Print hits for a person.

    Args:
        hits: best first.
        query: whose words are marked.
        screen: where they are printed.
        advice: a line below them on a terminal.

    """
    if not hits:
        log("Nothing found.")
        return
    terms = Terms(query)
    lines, is_spaced = _room(len(hits), screen)
    for number, hit in enumerate(hits, start=1):
        if number > 1 and is_spaced:
            output.styled()
        indent = max(_INDENT, len(str(len(hits))) + 2)
        output.styled(_head(number, hit, screen, terms, indent))
        also = _also(hit, screen, indent) if hit.others and lines > 1 else ""
        for line in excerpt(
            screen.encodable(hit.text),
            terms,
            screen.columns - indent,
            lines - bool(also),
            headings=hit.headings,
            is_code=is_code(hit.path),
            ellipsis=screen.ellipsis,
        ):
            output.styled(" " * indent + _styled(line, screen))
        if also:
            output.styled(also)
    if screen.is_terminal and advice:
        if is_spaced:
            output.styled()
        output.styled(clipped(advice, screen.columns, screen.ellipsis))


def _room(hits: int, screen: Screen) -> tuple[int, bool]:
    """Return the lines of an excerpt, and whether empty lines separate the hits."""
    each = (screen.rows - _AROUND) // hits
    if not screen.is_terminal or (each < 1 and hits > 5):
        return _LINES, False
    is_spaced = each > _LINES + 1
    return max(0, min(each - 1 - is_spaced, _MOST_LINES)), is_spaced


def _head(number: int, hit: Hit, screen: Screen, terms: Terms, indent: int) -> str:
    """Return the line above an excerpt: number, place, headings, relevance."""
    count = screen.style(f"{number:<{indent}}", bold=True)
    state = f" ({_STATES[hit.state]})" if hit.state in _STATES else ""
    name, line = near(hit.path), label(hit.page, hit.first_line)
    if hit.id is not None:
        name, line = hit.id, ""
    path = screen.encodable(printable(name))
    headings = [" ".join(heading.split()) for heading in hit.headings]
    headings = [screen.encodable(printable(heading)) for heading in headings]
    if not screen.is_terminal:
        location = screen.style(path, fg="magenta", bold=True) + line
        return f"{count}{hit.relevance:.2f}  {location}{state}{_above(headings, screen, terms)}"
    relevance = _dots(hit.relevance, screen)
    room = screen.columns - indent - width(relevance) - 2
    path = clipped_left(path, max(room - width(line + state), 8), screen.ellipsis)
    room -= width(path + line + state)
    above = _above(_fitting(headings, room, screen), screen, terms)
    plain = _above(_fitting(headings, room, screen), None, terms)
    location = screen.style(path, fg="magenta", bold=True) + line
    if hit.id is None:
        location = screen.link(location, hit.path)
    gap = " " * max(room - width(plain) + 2, 2)
    return f"{count}{location}{screen.style(state, bold=True)}{above}{gap}{relevance}"


def _dots(relevance: float, screen: Screen) -> str:
    if not screen.is_unicode:
        return f"{relevance:.2f}"
    # Most good answers to short questions are below a half: small values differ more.
    full = round(math.sqrt(min(max(relevance, 0.0), 1.0)) * _DOTS)
    return "●" * full + "○" * (_DOTS - full)


def _fitting(headings: list[str], room: int, screen: Screen) -> list[str]:
    """Choose the innermost headings that fit; the last one may be cut."""
    around = 3
    chosen: list[str] = []
    for heading in reversed(headings):
        if width(heading) + around > room:
            if not chosen and room >= _HEADING + around:
                chosen = [clipped(heading, room - around, screen.ellipsis)]
            break
        chosen.insert(0, heading)
        room -= width(heading) + around
    return chosen


def _above(headings: Sequence[str], screen: Screen | None, terms: Terms) -> str:
    if screen is None:
        return "".join(f" › {heading}" for heading in headings)
    return "".join(f" {screen.arrow} {_styled(marked(h, terms), screen)}" for h in headings)


def _also(hit: Hit, screen: Screen, indent: int) -> str:
    """Return the line that names the other locations of a passage, as many as fit."""
    room = screen.columns - indent
    text = "also in "
    for number, location in enumerate(hit.others):
        name = f"{', ' if number else ''}{printable(near(location.path))}{location.label}"
        name = screen.encodable(name)
        rest = f" and {len(hit.others) - number - 1:,} more"
        if number and width(text + name + rest) > room:
            text += f" and {len(hit.others) - number:,} more"
            break
        text += name
    return " " * indent + clipped(text, room, screen.ellipsis)


def _styled(line: Line, screen: Screen) -> str:
    return "".join(
        screen.style(piece.text, bold=True, underline=True) if piece.is_match else piece.text
        for piece in line
    )


def near(path: str) -> str:
    """Name a file in the shortest way: from the current folder, the home folder or the root."""
    names = [path]
    home = f"{Path.home()}{os.sep}"
    if path.startswith(home):
        names.append(f"~{os.sep}{path.removeprefix(home)}")
    try:
        from_here = os.path.relpath(path)
    except (OSError, ValueError):  # the current folder is deleted, or on another drive
        from_here = path
    if from_here[:1] in ("~", "-"):
        from_here = f".{os.sep}{from_here}"
    return min(from_here, *names, key=len)
