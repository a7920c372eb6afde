"""The documents of a collection: files, and texts that were added without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from jlocal.collection.database.base import Database
from jlocal.collection.database.connect import translated_errors
from jlocal.collection.database.metadata import Condition, stored_metadata
from jlocal.collection.database.values import (
    DamagedError,
    ascending,
    ids_of,
    passage_of,
    path_of,
    stored_path,
)

# Longer values are not even read.
LONGEST_METADATA = 16 << 20
_ROWS = 1024

_DOCUMENT = (
    "SELECT id, path, is_added, "
    "CASE WHEN length(metadata) <= ? THEN metadata ELSE '' END, metadata IS NULL, "
    "(SELECT count(*) FROM chunk WHERE chunk.content_id = document.content_id) FROM document "
)

_CHUNKS = (
    "SELECT record, start, first_line, last_line, heading, text, passage.sha256 "
    "FROM document JOIN chunk USING (content_id) JOIN passage ON passage.id = passage_id"
)

_STARTS = "SELECT start FROM document JOIN chunk USING (content_id) WHERE path = ? AND record = ?"


@dataclass(frozen=True)
class StoredDocument:
    """A document of a collection.

    Attributes:
        id: the id of an added text, or the absolute path of a file.
        kind: "text" for an added text, "file" for an indexed file.
        metadata: of an added text; None for files and for texts without metadata.
        passages: how many passages it has.
        text: as it was read, but for white space at the end of passages; None if it was not
            requested.

    """

    id: str
    kind: Literal["file", "text"]
    metadata: dict[str, Any] | None
    passages: int
    text: str | None = None


@dataclass(frozen=True)
class StoredChunk:
    """A passage at its place in a document.

    Attributes:
        record: of the document, from 0.
        start: in characters from the start of the record.
        first_line: from 1.
        last_line: from 1.
        text: of the passage, without the white space at its end.

    """

    record: int
    start: int
    first_line: int
    last_line: int
    text: str


class Catalog(Database):
    """Reads documents of an open collection; for one thread at a time."""

    def documents(self, after: int = 0) -> tuple[list[StoredDocument], int]:
        """Read some documents after the id `after`, in the order in which they were added.

        Return them, and the id to continue after.
        """
        rows = self._rows(
            f"{_DOCUMENT}WHERE id > ? ORDER BY id LIMIT ?", LONGEST_METADATA, after, _ROWS
        )
        with translated_errors(self.path):
            last = ascending(ids_of([id for id, *_ in rows]), after)
            return [_document(*row) for _, *row in rows], last

    def document(self, id: str) -> StoredDocument | None:
        """Find a document by its id or absolute path."""
        rows = self._rows(f"{_DOCUMENT}WHERE path = ?", LONGEST_METADATA, stored_path(id))
        with translated_errors(self.path):
            return _document(*rows[0][1:]) if rows else None

    def matching(self, holds: Condition) -> set[str]:
        """Return the ids and paths of the documents whose metadata meet a condition."""
        matches = set()
        for rows in self._blocks(
            "SELECT path, CASE WHEN length(metadata) <= ? THEN metadata ELSE '' END, "
            "metadata IS NULL FROM document WHERE ? OR metadata IS NOT NULL",
            LONGEST_METADATA,
            holds({}),
        ):
            with translated_errors(self.path):
                for path, metadata, has_none in rows:
                    if holds({} if has_none else stored_metadata(metadata)):
                        matches.add(path_of(path))
        return matches

    def iter_chunks(self, id: str) -> Iterator[StoredChunk]:
        """Yield the passages of a document in order."""
        return self._chunks("ORDER BY record, start", stored_path(id))

    def chunks_between(self, id: str, record: int, start: int, end: int) -> Iterator[StoredChunk]:
        """Yield in order the passages from the one at or before `start` to the one at `end`."""
        path = stored_path(id)
        first = self._value(
            f"{_STARTS} AND start <= ? ORDER BY start DESC LIMIT 1", path, record, start
        )
        last = self._value(f"{_STARTS} AND start >= ? ORDER BY start LIMIT 1", path, record, end)
        return self._chunks(
            "AND record = ? AND start >= ? AND start <= ? ORDER BY start",
            *(path, record, first if type(first) is int else 0),
            last if type(last) is int else end,
        )

    def last_chunk(self, id: str, record: int) -> StoredChunk | None:
        """Return the last passage of a record."""
        order = "AND record = ? ORDER BY start DESC LIMIT 1"
        return next(self._chunks(order, stored_path(id), record), None)

    def chunk_at_line(self, id: str, line: int, record: int | None) -> StoredChunk | None:
        """Return the first passage that has this line or a later one, in one record or in any."""
        return next(
            self._chunks(
                "AND last_line >= ? AND (? IS NULL OR record = ?) ORDER BY record, start LIMIT 1",
                *(stored_path(id), line, record, record),
            ),
            None,
        )

    def next_record(self, id: str, record: int) -> tuple[int, int] | None:
        """Return the next record that has passages, and the position of its first one."""
        order = "AND record > ? ORDER BY record, start LIMIT 1"
        chunk = next(self._chunks(order, stored_path(id), record), None)
        return (chunk.record, chunk.start) if chunk else None

    def _chunks(self, which: str, *values: object) -> Iterator[StoredChunk]:
        blocks = self._blocks(f"{_CHUNKS} WHERE path = ? {which}", *values)
        last = (0, -1)
        for rows in blocks:
            with translated_errors(self.path):
                chunks = [_stored_chunk(*row) for row in rows]
                for chunk in chunks:
                    if (chunk.record, chunk.start) <= last:
                        raise DamagedError("passages come twice")
                    last = (chunk.record, chunk.start)
            yield from chunks


def _document(
    path: object, is_added: object, metadata: object, has_none: object, passages: object
) -> StoredDocument:
    if is_added not in (0, 1) or type(passages) is not int:
        raise DamagedError("a document is neither a file nor a text")
    known = None if has_none else stored_metadata(metadata)
    return StoredDocument(path_of(path), "text" if is_added else "file", known, passages)


def _stored_chunk(
    record: object,
    start: object,
    first_line: object,
    last_line: object,
    heading: object,
    text: object,
    digest: object,
) -> StoredChunk:
    _, text = passage_of(heading, text, digest)
    number, location, first, last = (
        value if type(value) is int else -1 for value in (record, start, first_line, last_line)
    )
    if number < 0 or location < 0 or not 1 <= first <= last:
        raise DamagedError("a passage stands in no lines of its document")
    return StoredChunk(number, location, first, last, text)


def text_of(chunks: Iterable[StoredChunk]) -> str:
    """Join a document's passages without their overlaps, with a line break between records.

    The result is the text that was read, but for white space between passages, of which only the
    line breaks are known.
    """
    records: list[str] = []
    number, end, line = -1, 0, 1
    parts: list[str] = []
    for chunk in chunks:
        if chunk.record != number:
            records.append("".join(parts))
            number, end, line, parts = chunk.record, chunk.start, chunk.first_line, []
        known = max(0, end - chunk.start)
        if known >= len(chunk.text):
            continue
        gap = chunk.start - end
        if gap > 0:
            parts.append("\n" * min(gap, max(0, chunk.first_line - line)) or " " * gap)
        parts.append(chunk.text[known:])
        end, line = chunk.start + len(chunk.text), chunk.last_line
    records.append("".join(parts))
    return "\n".join(records[1:])
