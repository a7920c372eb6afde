"""HTML pages: the text that they show, and its headings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from jlocal.errors import TextError
from jlocal.extract import need
from jlocal.extract.worker import Worker

# A page of 16 Mi characters takes a second; one that is made to take longer has no end.
_SECONDS = 60

_worker = Worker("jlocal.extract.html_text", _SECONDS)


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        text: its text.
        headings: (start, end, level) of each heading in the text; of level 0 is the page's title.

    """

    text: str
    headings: tuple[tuple[int, int, int], ...] = ()


def read_html(data: bytes) -> Page:
    """Return what a page shows, as `html_text.read` finds it in another process.

    It has a minute and, where the system can bound it, 2 GiB of memory.

    Raises:
        TextError: there is no text in it, it is too large, or takes too much.
        ExtraError: resiliparse is not installed.

    """
    need("resiliparse", "html", "an HTML page")
    answer = _worker.ask(data)
    text = answer.get("text")
    if not isinstance(text, str):
        raise TextError("its reader gave no text")
    try:
        places = cast(list[tuple[int, int, int]], answer["headings"])
        headings = tuple((int(start), int(end), int(level)) for start, end, level in places)
    except (KeyError, TypeError, ValueError):
        raise TextError("its reader gave no headings") from None
    return Page(text, headings)
