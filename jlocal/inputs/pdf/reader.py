"""Reading PDF files: the text of their pages, and the parts that could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import cast

from jlocal.errors import TextError
from jlocal.inputs.worker import Worker

_SECONDS = 300
_MEMORY = 2 << 30
# Maximum number of page ranges in a report.
_NAMED = 10

_worker = Worker("jlocal.inputs.pdf.text", seconds=_SECONDS, memory=_MEMORY)


@dataclass(frozen=True)
class Loss:
    """A part of a file that could not be read, or not completely.

    Attributes:
        pages: page indices, from 0; empty for the whole file.
        reason: the reason.

    """

    pages: tuple[int, ...]
    reason: str

    @property
    def place(self) -> str:
        """The pages as a person counts them: `p. 1, 3-5`; "" for the whole file."""
        stretches = [
            [index for _, index in stretch]
            for _, stretch in groupby(enumerate(self.pages), lambda pair: pair[1] - pair[0])
        ]
        named = [
            f"{first + 1}-{last + 1}" if last > first else f"{first + 1}"
            for first, last in ((stretch[0], stretch[-1]) for stretch in stretches[:_NAMED])
        ]
        if len(stretches) > _NAMED:
            named.append("…")
        return f"p. {', '.join(named)}" if named else ""


@dataclass(frozen=True)
class Pdf:
    """The content of a PDF file.

    Attributes:
        pages: the text of each page; "" for a page without text.
        losses: the parts that were not read.

    """

    pages: list[str]
    losses: list[Loss]


def read_pdf(data: bytes) -> Pdf:
    """Read a PDF file in a child process, with `pdf.text.read`.

    The limits are 5 minutes and, on systems that can set it, 2 GiB of memory.

    Raises:
        TextError: the file is not a PDF file, is damaged, encrypted or too large, or has no text.

    """
    answer = _worker.read(data)
    try:
        pages = cast(list[str], answer["pages"])
        losses = cast(list[tuple[list[int], str]], answer["losses"])
        return Pdf(pages, [Loss(tuple(indices), reason) for indices, reason in losses])
    except (KeyError, TypeError, ValueError):
        raise TextError("its reader gave no text") from None
