"""A batch of documents, written to a collection in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jlocal.collection.database import codes
from jlocal.collection.database.fulltext import PASSAGES, PATHS
from jlocal.collection.database.values import Ids, ids_of, stored_path
from jlocal.vectors import Floats

if TYPE_CHECKING:
    from jlocal.collection.chunking.chunks import Chunk


@dataclass(frozen=True)
class Entry:
    """A document to write.

    Attributes:
        path: its absolute path.
        stamp: equal stamps mean an unchanged file; None if the file has no stamp.
        digest: of its content.
        chunks: (record, chunk, digest of the passage); not needed for known content.
        is_added: whether it is a text that was added without a file; then the path is its id.
        metadata: its metadata, as JSON values.

    """

    path: str
    stamp: str | None
    digest: bytes
    chunks: Sequence[tuple[int, Chunk, bytes]] = ()
    is_added: bool = False
    metadata: Mapping[str, Any] | None = None


@dataclass
class Batch:
    """Documents and passages to write in one transaction.

    Attributes:
        passages: digest of a passage to its heading, its text and its vector.
        entries: documents that are new or changed.
        stamps: (path, stamp) of documents that are unchanged.
        removed: paths of documents to remove; their texts and vectors are kept.

    """

    passages: dict[bytes, tuple[str, str, Floats]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    stamps: list[tuple[str, str | None]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, (self.passages, self.entries, self.stamps, self.removed)))

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the batch, in an open transaction."""
        connection.executemany(
            "INSERT OR IGNORE INTO passage (sha256, vector, text, heading) VALUES (?, ?, ?, ?)",
            [
                (digest, vector.astype("<f4").tobytes(), text, heading)
                for digest, (heading, text, vector) in self.passages.items()
            ],
        )
        paths = [*(entry.path for entry in self.entries), *self.removed]
        contents = _contents(connection, paths)
        for entry in self.entries:
            _write_entry(connection, entry)
        connection.executemany(
            "UPDATE document SET stamp = ? WHERE path = ?",
            [(stamp, stored_path(path)) for path, stamp in self.stamps],
        )
        PATHS.add(connection, _ids(connection, [entry.path for entry in self.entries])[0])
        PATHS.drop(connection, _ids(connection, self.removed)[0])
        connection.executemany(
            "DELETE FROM document WHERE path = ?",
            [(stored_path(path),) for path in self.removed],
        )
        _update_found(connection, contents | _contents(connection, paths))


def _contents(connection: sqlite3.Connection, paths: Sequence[str]) -> set[int]:
    """Return the ids of these documents' contents."""
    return set(_ids(connection, paths)[1].tolist())


def _ids(connection: sqlite3.Connection, paths: Sequence[str]) -> tuple[Ids, Ids]:
    """Return the ids (n,) of documents, and of their contents."""
    rows = (
        connection.execute(
            "SELECT id, content_id FROM document WHERE path = ?", (stored_path(path),)
        ).fetchone()
        for path in paths
    )
    stored = [row for row in rows if row]
    return ids_of([id for id, _ in stored]), ids_of([content for _, content in stored])


def _write_entry(connection: sqlite3.Connection, entry: Entry) -> None:
    fresh = connection.execute(
        "INSERT OR IGNORE INTO content (sha256) VALUES (?)", (entry.digest,)
    ).rowcount
    (content,) = connection.execute(
        "SELECT id FROM content WHERE sha256 = ?", (entry.digest,)
    ).fetchone()
    if fresh:
        connection.executemany(
            "INSERT INTO chunk VALUES "
            "(?, ?, ?, ?, ?, ?, (SELECT id FROM passage WHERE sha256 = ?))",
            [
                (content, record, c.start, c.end, c.first_line, c.last_line, digest)
                for record, c, digest in entry.chunks
            ],
        )
    metadata = None if entry.metadata is None else json.dumps(entry.metadata)
    connection.execute(
        "INSERT INTO document (path, stamp, content_id, is_added, metadata) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET stamp = excluded.stamp, "
        "content_id = excluded.content_id, is_added = excluded.is_added, "
        "metadata = excluded.metadata",
        (stored_path(entry.path), entry.stamp, content, entry.is_added, metadata),
    )


def _update_found(connection: sqlite3.Connection, contents: set[int]) -> None:
    """Make the passages of these contents searchable if a document has them, and hide the rest."""
    # Each passage is looked up once: one may be in very many chunks.
    rows = connection.execute(
        "SELECT passage, EXISTS (SELECT 1 FROM chunk JOIN document USING (content_id) "
        "WHERE passage_id = passage) FROM (SELECT DISTINCT passage_id AS passage FROM chunk "
        "WHERE content_id IN (SELECT value FROM json_each(?)))",
        (json.dumps(sorted(contents)),),
    ).fetchall()
    ids = ids_of([id for id, _ in rows])
    is_used = np.array([is_wanted for _, is_wanted in rows], np.bool_)
    for index in (codes, PASSAGES):
        index.add(connection, ids[is_used])
        index.drop(connection, ids[~is_used])
