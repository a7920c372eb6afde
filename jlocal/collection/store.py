"""Every statement that a collection's file is read and written with."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import operator
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jlocal.collection import codes
from jlocal.collection.chunks import Chunk
from jlocal.collection.codes import Bits, Ids
from jlocal.collection.place import Place
from jlocal.collection.recipe import Recipe
from jlocal.collection.schema import Alone, connect, plain_errors
from jlocal.files import sha256_of
from jlocal.vectors import Floats

_ROWS, _FEW = 1024, 256


@dataclass(frozen=True)
class Entry:
    """A document to write.

    Attributes:
        path: its absolute path.
        stamp: what tells that the file has not changed; None where nothing can tell.
        digest: of its content.
        chunks: (record, chunk, digest of the chunk's text); not needed where content is known.

    """

    path: str
    stamp: str | None
    digest: bytes
    chunks: Sequence[tuple[int, Chunk, bytes]] = ()


@dataclass
class Batch:
    """What is written together.

    Attributes:
        passages: digest of a text to the text and its vector.
        entries: documents that are new or changed.
        stamps: (path, stamp) of documents that are unchanged.
        removed: paths of documents to remove; their texts and vectors are kept.

    """

    passages: dict[bytes, tuple[str, Floats]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    stamps: list[tuple[str, str | None]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, (self.passages, self.entries, self.stamps, self.removed)))


def digest_of(text: str, kind: str = "") -> bytes:
    """SHA-256 of a text, which with another kind is another."""
    return hashlib.sha256(f"{kind}\0{text}".encode()).digest()


class Store:
    """An open collection file, for one thread at a time; `is_alone` as `schema.Alone` says."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file.

        Raises:
            CollectionError: it cannot be opened, or is no collection.

        """
        self.path = path
        self._connection = connect(path, create=create)
        self.is_alone = isinstance(self._connection, Alone)
        self._file = _identity(path)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()

    def is_current(self) -> bool:
        """Whether this is still the file that has its path."""
        return _identity(self.path) == self._file

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with plain_errors(self.path):
            return self._connection.execute(statement, values).fetchall()

    def _value(self, statement: str, *values: object) -> Any:
        rows = self._rows(statement, *values)
        return rows[0][0] if rows else None

    def _blocks(self, statement: str, *values: object) -> Iterator[list[Any]]:
        with plain_errors(self.path):
            cursor = self._connection.execute(statement, values)
            while rows := cursor.fetchmany(_ROWS):
                yield rows

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with plain_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has already done so after some errors, a full disk among them.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the file as it is now, whatever an indexer does meanwhile."""
        with plain_errors(self.path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with plain_errors(self.path):
                self._connection.execute("ROLLBACK")

    # How vectors are made

    def recipe(self) -> Recipe | None:
        """Read how the vectors are made; None where nothing was indexed yet."""
        settings = {key: json.loads(value) for key, value in self._rows("SELECT * FROM setting")}
        return Recipe.from_settings(settings) if settings else None

    def set_recipe(self, recipe: Recipe) -> None:
        """Write how the vectors are made."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO setting VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in recipe.to_settings().items()],
            )

    def sha256_of_model(self, path: Path) -> str:
        """SHA-256 of a model's file, computed once for each size and time of change."""
        status = path.stat()
        key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
        known: str | None = self._value(
            "SELECT sha256 FROM model_file WHERE (path, size, mtime_ns) = (?, ?, ?)", *key
        )
        return known or self._remember(key, sha256_of(path))

    def _remember(self, key: tuple[str, int, int], sha256: str) -> str:
        # Only a shortcut: a collection that cannot be written can still be searched.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute(
                "INSERT OR REPLACE INTO model_file VALUES (?, ?, ?, ?)", (*key, sha256)
            )
        return sha256

    # Documents

    def count_documents(self) -> int:
        """How many documents there are."""
        return int(self._value("SELECT count(*) FROM document"))

    def count_passages(self) -> int:
        """How many passages of documents there are, and so vectors that a search may find."""
        return int(self._value("SELECT coalesce(sum(length(passage_ids)), 0) FROM code")) // 8

    def count_kept(self) -> int:
        """How many passages there are that are in no document."""
        return int(self._value("SELECT count(*) FROM passage")) - self.count_passages()

    def paths(self) -> Iterator[str]:
        """All paths of documents."""
        for rows in self._blocks("SELECT path FROM document"):
            yield from (_read_path(path) for (path,) in rows)

    def stamp(self, path: str) -> tuple[str | None, bytes] | None:
        """Stamp and digest of content of a document; None where it is not known."""
        rows = self._rows(
            "SELECT stamp, sha256 FROM document JOIN content ON content.id = content_id "
            "WHERE path = ?",
            _store_path(path),
        )
        return rows[0] if rows else None

    def has_content(self, digest: bytes) -> bool:
        """Whether all of this content is here."""
        return self._value("SELECT id FROM content WHERE sha256 = ?", digest) is not None

    def has_passage(self, digest: bytes) -> bool:
        """Whether the vector of this text is here."""
        return self._value("SELECT id FROM passage WHERE sha256 = ?", digest) is not None

    # Writing

    def write(self, batch: Batch) -> None:
        """Write a batch, all of it or nothing.

        Raises:
            CollectionError: it cannot be written, for want of space for example.

        """
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO passage (sha256, vector, text) VALUES (?, ?, ?)",
                [
                    (digest, vector.astype("<f4").tobytes(), text)
                    for digest, (text, vector) in batch.passages.items()
                ],
            )
            paths = [*(entry.path for entry in batch.entries), *batch.removed]
            contents = _contents(connection, paths)
            for entry in batch.entries:
                _write_entry(connection, entry)
            connection.executemany(
                "UPDATE document SET stamp = ? WHERE path = ?",
                [(stamp, _store_path(path)) for path, stamp in batch.stamps],
            )
            connection.executemany(
                "DELETE FROM document WHERE path = ?",
                [(_store_path(path),) for path in batch.removed],
            )
            _update_codes(connection, contents | _contents(connection, paths))

    def settle(self) -> None:
        """Let exactly the passages of documents be found, whoever wrote the file."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT DISTINCT passage_id FROM document JOIN chunk USING (content_id)"
            )
            wanted = np.fromiter((id for (id,) in rows), "<i8")
            coded = codes.ids(connection)
            codes.drop(connection, np.setdiff1d(coded, wanted))
            codes.add(connection, np.setdiff1d(wanted, coded))

    def delete_kept(self) -> int:
        """Delete for good what is in no document, and return how many passages that were."""
        # What is deleted is overwritten, also where the file cannot be made smaller.
        self._rows("PRAGMA secure_delete = ON")
        # The log beside the file may otherwise need more room than there is.
        self._rows("PRAGMA wal_autocheckpoint = 100")
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM content WHERE id NOT IN (SELECT content_id FROM document)"
            )
        kept = self._rows("SELECT id FROM passage WHERE id NOT IN (SELECT passage_id FROM chunk)")
        for start in range(0, len(kept), _FEW):
            part = kept[start : start + _FEW]
            with self._transaction() as connection:
                codes.drop(connection, np.array(part, "<i8")[:, 0])
                connection.executemany("DELETE FROM passage WHERE id = ?", part)
        return len(kept)

    def pages(self) -> tuple[int, int]:
        """Bytes of the file that are used, and bytes that are free."""
        size, count, free = (
            int(self._value(f"PRAGMA {name}"))
            for name in ("page_size", "page_count", "freelist_count")
        )
        return size * (count - free), size * free

    def checkpoint(self) -> bool:
        """Move all that was written into the file itself; False where readers are in the way."""
        self._rows("PRAGMA busy_timeout = 2000")
        return not self._value("PRAGMA wal_checkpoint(TRUNCATE)")

    def vacuum(self) -> None:
        """Write the file anew without free pages.

        Raises:
            CollectionError: there is no room, or another process writes.

        """
        # The copy may be larger than memory.
        self._rows("PRAGMA temp_store = FILE")
        self._rows("VACUUM")

    def codes(self) -> Iterator[tuple[Ids, Bits]]:
        """Blocks of passage ids (n,) and codes (n, d / 64, rounded up) as `codes.pack` gives."""
        with plain_errors(self.path):
            yield from codes.read(self._connection)

    # Searching

    def vectors(self, ids: Ids | None = None) -> Iterator[tuple[Ids, Floats]]:
        """Blocks of passage ids (n,), ascending, and vectors (n, d).

        Of these passages, or of all passages of documents.
        """
        if ids is None:
            blocks = self._blocks(
                "SELECT id, vector FROM passage WHERE id IN "
                "(SELECT passage_id FROM document JOIN chunk USING (content_id)) ORDER BY id"
            )
        else:
            blocks = self._blocks(
                "SELECT id, vector FROM passage WHERE id IN (SELECT value FROM json_each(?)) "
                "ORDER BY id",
                json.dumps(ids.tolist()),
            )
        for rows in blocks:
            data = b"".join([vector for _, vector in rows])
            yield (
                np.array([id for id, _ in rows], np.int64),
                np.frombuffer(data, "<f4").reshape(len(rows), -1),
            )

    def use_path_filter(self, matches: Callable[[str], bool]) -> None:
        """Set what `passages_under` and `places` ask of a path: a function of str to bool."""
        self._connection.create_function("wanted", 1, lambda path: matches(_read_path(path)))

    def passages_under(self) -> Ids:
        """Ids of passages in documents whose paths are wanted."""
        rows = self._rows(
            "SELECT DISTINCT passage_id FROM document JOIN chunk USING (content_id) "
            "WHERE wanted(path)"
        )
        return np.array([id for (id,) in rows], np.int64)

    def count_records(self) -> int:
        """How many records there are in documents whose paths are wanted."""
        return int(
            self._value(
                "SELECT count(*) FROM (SELECT DISTINCT document.id, record FROM document "
                "JOIN chunk USING (content_id) WHERE wanted(path))"
            )
        )

    def places(self, passage: int, limit: int) -> list[Place]:
        """Where a passage first stands in each record of documents whose paths are wanted."""
        rows = self._rows(
            "SELECT path, record, min(first_line), last_line FROM chunk JOIN document "
            "USING (content_id) WHERE passage_id = ? AND wanted(path) "
            "GROUP BY path, record ORDER BY path, record LIMIT ?",
            passage,
            limit,
        )
        return [Place(_read_path(path), *numbers) for path, *numbers in rows]

    def first_places(self, ids: Ids) -> Iterator[tuple[Place, int]]:
        """Where each of these passages first stands, by ascending id, and in how many places.

        Passages that stand nowhere are left out.
        """
        blocks = self._blocks(
            "SELECT passage_id, path, record, first_line, last_line FROM chunk JOIN document "
            "USING (content_id) WHERE passage_id IN (SELECT value FROM json_each(?)) "
            "ORDER BY passage_id, path, record, start",
            json.dumps(ids.tolist()),
        )
        rows = itertools.chain.from_iterable(blocks)
        for _, places in itertools.groupby(rows, key=operator.itemgetter(0)):
            (_, path, *numbers), *others = places
            yield Place(_read_path(path), *numbers), 1 + len(others)

    def standing(self) -> Iterator[tuple[Place, str, Floats]]:
        """Each place in the order of paths and lines, with its text and vector (d,).

        A row at a time: texts may be long.
        """
        with plain_errors(self.path):
            # The joins in this order need no sorting.
            for path, *numbers, text, vector in self._connection.execute(
                "SELECT path, record, first_line, last_line, text, vector FROM document "
                "CROSS JOIN chunk USING (content_id) CROSS JOIN passage ON passage.id = passage_id "
                "ORDER BY path, record, start"
            ):
                yield Place(_read_path(path), *numbers), text, np.frombuffer(vector, "<f4")

    def text(self, passage: int) -> str:
        """Text of a passage."""
        return str(self._value("SELECT text FROM passage WHERE id = ?", passage))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _contents(connection: sqlite3.Connection, paths: Sequence[str]) -> set[int]:
    """Ids of the contents that these documents have."""
    statement = "SELECT content_id FROM document WHERE path = ?"
    rows = (connection.execute(statement, (_store_path(path),)).fetchone() for path in paths)
    return {row[0] for row in rows if row}


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
    connection.execute(
        "INSERT INTO document (path, stamp, content_id) VALUES (?, ?, ?) ON CONFLICT (path) "
        "DO UPDATE SET stamp = excluded.stamp, content_id = excluded.content_id",
        (_store_path(entry.path), entry.stamp, content),
    )


def _update_codes(connection: sqlite3.Connection, contents: set[int]) -> None:
    """Let the passages of these contents be found that are in a document, and no others."""
    # Each passage is asked about once: one may be in very many chunks.
    rows = connection.execute(
        "SELECT passage, EXISTS (SELECT 1 FROM chunk JOIN document USING (content_id) "
        "WHERE passage_id = passage) FROM (SELECT DISTINCT passage_id AS passage FROM chunk "
        "WHERE content_id IN (SELECT value FROM json_each(?)))",
        (json.dumps(sorted(contents)),),
    ).fetchall()
    ids = np.array([id for id, _ in rows], "<i8")
    wanted = np.array([is_wanted for _, is_wanted in rows], np.bool_)
    codes.add(connection, ids[wanted])
    codes.drop(connection, ids[~wanted])


def _store_path(path: str) -> str | bytes:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _read_path(path: str | bytes) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else path
