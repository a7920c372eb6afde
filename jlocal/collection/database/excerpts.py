"""Parts of documents, as the collection has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jlocal.collection.database.catalog import Catalog, StoredChunk


@dataclass(frozen=True)
class Excerpt:
    """A part of a document, from the collection; the file is not opened.

    Positions count characters from the start of the record. The white space between two passages is
    not stored: its length is exact, and of its characters the line breaks are.

    Attributes:
        id: the id of an added text, or the absolute path of a file.
        record: of the document, from 0; in PDF files each page is one, most files have only one.
        start: position of the first character.
        end: position after the last character.
        first_line: line of the first character, from 1.
        last_line: line of the last character.
        text: the characters.
        length: of the record, in characters.
        following: record and position at which the document goes on; None at its end.

    """

    id: str
    record: int
    start: int
    end: int
    first_line: int
    last_line: int
    text: str
    length: int
    following: tuple[int, int] | None


def excerpt(catalog: Catalog, id: str, record: int, start: int, length: int) -> Excerpt:
    """Read a part of a document that exists.

    Args:
        catalog: an open collection, in a snapshot.
        id: the id or absolute path of the document.
        record: of the document, from 0.
        start: position of the first character in the record.
        length: the most characters.

    """
    last = catalog.last_chunk(id, record)
    size = last.start + len(last.text) if last else 0
    start = min(start, size)
    end = min(start + length, size)
    text, line = _joined(catalog.chunks_between(id, record, start, end), start, end)
    following = (record, end) if end < size else catalog.next_record(id, record)
    last_line = line + text.count("\n")
    return Excerpt(id, record, start, end, line, last_line, text, size, following)


def _joined(chunks: Iterable[StoredChunk], start: int, end: int) -> tuple[str, int]:
    """Join passages without their overlaps; return the characters in between, and their line."""
    parts: list[str] = []
    place, line, first_line = start, 1, 1
    for chunk in chunks:
        if not parts:
            # The white space before a passage belongs to the line on which the last one ended.
            known = max(0, start - chunk.start)
            first_line = chunk.first_line + chunk.text.count("\n", 0, known)
            line = first_line
        gap = min(chunk.start, end) - place
        if gap > 0:
            breaks = min(gap, max(0, chunk.first_line - line))
            parts.append(" " * (gap - breaks) + "\n" * breaks)
            place += gap
        parts.append(chunk.text[max(0, place - chunk.start) : max(0, end - chunk.start)])
        place, line = max(place, chunk.start + len(chunk.text)), chunk.last_line
        if place >= end:
            break
    return "".join(parts), first_line
