"""The location of a passage, and its label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PureWindowsPath

from jlocal.filenames import portable
from jlocal.inputs import formats


@dataclass(frozen=True)
class Location:
    """The location of a passage.

    The lines are those of the text that was read; files of other formats and added texts have none
    that a user could look up, see `lines`. The path of an added text is its id. The start is in
    characters from the start of the record.
    """

    path: str
    record: int
    first_line: int
    last_line: int
    is_added: bool = False
    start: int = 0

    @property
    def name(self) -> str:
        """The path, or the id, as text that is the same in every locale."""
        return self.path if self.is_added else portable(self.path)

    @property
    def page(self) -> int | None:
        """Page of a PDF file, from 1; None for other files."""
        return self.record + 1 if self._kind == "pdf" else None

    @property
    def lines(self) -> tuple[int, int] | tuple[None, None]:
        """First and last line in a text file; None and None in other files and added texts."""
        return (None, None) if self._kind else (self.first_line, self.last_line)

    @property
    def _kind(self) -> str:
        return "text" if self.is_added else formats.reader_of(self.path)

    @property
    def label(self) -> str:
        """The label after the path: " p. 3", ":3" or nothing."""
        return label(self.page, self.lines[0])


def is_id(path: str) -> bool:
    """Tell whether this is the id of an added text: ids of files are absolute paths."""
    # An absolute path of POSIX begins with a slash.
    return not (path.startswith("/") or PureWindowsPath(path).is_absolute())


def label(page: int | None, line: int | None) -> str:
    """Return the label of a page or line after a path: " p. 3", ":3" or nothing."""
    if page is not None:
        return f" p. {page}"
    return "" if line is None else f":{line}"
