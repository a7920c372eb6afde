"""Reading files without pages: HTML, office documents, e-mails, notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from jlocal.errors import TextError
from jlocal.inputs.worker import Worker

# The largest files take seconds; longer times are signs of an attack.
_SECONDS = 60
_MEMORY = 2 << 30
_WORKERS = {
    name: Worker(f"jlocal.inputs.{name}", seconds=_SECONDS, memory=_MEMORY)
    for name in ("html", "office", "mail", "notebook")
}


@dataclass(frozen=True)
class Flowing:
    """The content of a file.

    Attributes:
        text: the text.
        headings: (start, end, level) of each heading in the text; the title has level 0.
        losses: the reasons why parts of the file were not read.

    """

    text: str
    headings: tuple[tuple[int, int, int], ...] = ()
    losses: tuple[str, ...] = ()


def read_flowing(data: bytes, reader: str) -> Flowing:
    """Read a file in a child process, with the function `read` of the reader's module.

    The limits are one minute and, on systems that can set it, 2 GiB of memory.

    Args:
        data: the file.
        reader: "html", "office", "mail" or "notebook".

    Raises:
        TextError: the file has no text, is damaged, encrypted or too large, or takes too much time
            or memory.

    """
    answer = _WORKERS[reader].read(data)
    try:
        headings = cast(list[tuple[int, int, int]], answer["headings"])
        losses = cast(list[object], answer.get("losses", []))
        return Flowing(
            cast(str, answer["text"]),
            tuple((int(start), int(end), int(level)) for start, end, level in headings),
            tuple(map(str, losses)),
        )
    except (KeyError, TypeError, ValueError):
        raise TextError("its reader gave no text") from None
