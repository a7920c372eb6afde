"""Files whose text has no pages: HTML, office documents, e-mails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from jlocal.errors import TextError
from jlocal.inputs.worker import Worker

# The largest files take seconds; one that is made to take longer has no end.
_SECONDS = 60
_MEMORY = 2 << 30
_WORKERS = {
    name: Worker(f"jlocal.inputs.{name}", seconds=_SECONDS, memory=_MEMORY)
    for name in ("html", "office", "mail")
}


@dataclass(frozen=True)
class Flowing:
    """What was read of a file.

    Attributes:
        text: its text.
        headings: (start, end, level) of each heading in the text; of level 0 is the title.
        losses: why parts of it were not read.

    """

    text: str
    headings: tuple[tuple[int, int, int], ...] = ()
    losses: tuple[str, ...] = ()


def read_flowing(data: bytes, kind: str) -> Flowing:
    """Read a file in another process, as `read` of the module `{kind}_text` does.

    It has a minute and, where the system can bound it, 2 GiB of memory.

    Args:
        data: the file.
        kind: "html", "office" or "mail".

    Raises:
        TextError: there is no text in it, it is damaged, encrypted, too large, or takes too much.

    """
    answer = _WORKERS[kind].ask(data)
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
