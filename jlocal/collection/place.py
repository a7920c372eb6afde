"""Where a passage stands, and how a person is told."""

from __future__ import annotations

from dataclasses import dataclass

from jlocal import extract


@dataclass(frozen=True)
class Place:
    """Where a passage stands.

    The lines are those of the text that was read; of HTML and PDF it has none that a person could
    look up, see `lines`.
    """

    path: str
    record: int
    first_line: int
    last_line: int

    @property
    def page(self) -> int | None:
        """Page of a PDF file, from 1; None in others."""
        return self.record + 1 if extract.kind_of(self.path) == "pdf" else None

    @property
    def lines(self) -> tuple[int, int] | tuple[None, None]:
        """First and last line in the file; None twice in HTML and PDF."""
        return (None, None) if extract.kind_of(self.path) else (self.first_line, self.last_line)

    @property
    def label(self) -> str:
        """What follows the path where a person reads it."""
        return label(self.page, self.lines[0])


def label(page: int | None, line: int | None) -> str:
    """Return what follows a path where a person reads it: " p. 3", ":3" or nothing."""
    if page is not None:
        return f" p. {page}"
    return "" if line is None else f":{line}"
