"""HTML pages: the text that they show."""

from __future__ import annotations

from jlocal.errors import TextError
from jlocal.extract import need
from jlocal.extract.worker import Worker

# A page of 16 Mi characters takes a second; one that is made to take longer has no end.
_SECONDS = 60

_worker = Worker("jlocal.extract.html_text", _SECONDS)


def html_text(data: bytes) -> str:
    """Return what a page shows, as `html_text.read` finds it in another process.

    It has a minute and, where the system can bound it, 2 GiB of memory.

    Raises:
        TextError: there is no text in it, it is too large, or takes too much.
        ExtraError: resiliparse is not installed.

    """
    need("resiliparse", "html", "an HTML page")
    text = _worker.ask(data).get("text")
    if not isinstance(text, str):
        raise TextError("its reader gave no text")
    return text
