"""An open collection: all reads of its file, and its transactions."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jlocal.collection.database import codes
from jlocal.collection.database.batch import Batch
from jlocal.collection.database.catalog import LONGEST_METADATA, Catalog
from jlocal.collection.database.check import MISSING
from jlocal.collection.database.codes import Bits
from jlocal.collection.database.connect import translated_errors
from jlocal.collection.database.finding import Finding
from jlocal.collection.database.fulltext import PASSAGES, PATHS
from jlocal.collection.database.metadata import stored_metadata
from jlocal.collection.database.settings import Settings
from jlocal.collection.database.values import (
    DamagedError,
    Ids,
    ascending,
    ids_of,
    location_of,
    order_of,
    passage_of,
    path_of,
    stored_path,
    vector_of,
    vectors_of,
)
from jlocal.collection.location import Location
from jlocal.outputs.sqlite import limit_work
from jlocal.vectors import Floats

_ROWS, _FEW = 1024, 256

_WANTED = (
    "SELECT DISTINCT passage_id FROM chunk WHERE content_id IN (SELECT content_id FROM document"
)


class Store(Settings, Catalog, Finding):
    """Reads and writes an open collection; for one thread at a time."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file.

        Raises:
            CollectionError: it cannot be opened, or is not a collection.

        """
        super().__init__(path, create=create)
        self._has_sound_codes = False

    # Documents

    def count_kept(self) -> int:
        """Count the passages that are in no document."""
        # count(*) is a single instruction, which `limit_work` could not end.
        return int(self._value("SELECT count(id) FROM passage")) - self.count_passages()

    def count_unfinished(self) -> int:
        """Count the passages of unfinished files, which were embedded but are in no content."""
        statement = "SELECT count(id) FROM passage WHERE id NOT IN (SELECT passage_id FROM chunk)"
        return int(self._value(statement))

    def paths(self) -> Iterator[str]:
        """Return the paths of all documents that are files."""
        return self._documents(is_added=False)

    def added(self) -> Iterator[str]:
        """Return the ids of all documents that are added texts."""
        return self._documents(is_added=True)

    def _documents(self, *, is_added: bool) -> Iterator[str]:
        last = 0
        for rows in self._blocks(
            "SELECT id, path FROM document WHERE is_added = ? ORDER BY id", is_added
        ):
            with translated_errors(self.path):
                last = ascending(ids_of([id for id, _ in rows]), last)
                paths = [path_of(path) for _, path in rows]
            yield from paths

    def is_added(self, path: str) -> bool | None:
        """Tell whether a document is an added text with this id; None if there is no document."""
        value = self._value("SELECT is_added FROM document WHERE path = ?", stored_path(path))
        return None if value is None else bool(value)

    def metadata(self, path: str) -> dict[str, Any] | None:
        """Read the metadata of a document as JSON values; None if it has none."""
        value = self._value(
            "SELECT CASE WHEN length(metadata) <= ? THEN metadata ELSE '' END FROM document "
            "WHERE path = ? AND metadata IS NOT NULL",
            LONGEST_METADATA,
            stored_path(path),
        )
        with translated_errors(self.path):
            return None if value is None else stored_metadata(value)

    def check_links(self) -> None:
        """Check that each document has its content, and each chunk its content and passage.

        Raises:
            CollectionError: a content or a passage is missing.

        """
        self.once("links", self._check_links)

    def _check_links(self) -> None:
        with translated_errors(self.path):
            for missing, statement in MISSING.items():
                if self._rows(statement):
                    raise DamagedError(missing)

    def check_codes(self) -> None:
        """Check that all passages of documents have codes, once while the file is open.

        Raises:
            CollectionError: one has none, and no search would find it.

        """
        if not self._has_sound_codes:
            # The order of this index makes sorting unnecessary.
            expected = self._value(
                "SELECT count(DISTINCT passage_id) FROM chunk INDEXED BY chunk_passage "
                "WHERE content_id IN (SELECT content_id FROM document)"
            )
            with translated_errors(self.path):
                if self.count_passages() < expected:
                    raise DamagedError("a passage has no code")
            self._has_sound_codes = True

    def stamp(self, path: str) -> tuple[str | None, bytes] | None:
        """Return the stamp and the content's digest of a file; None if it is not a document."""
        rows = self._rows(
            "SELECT stamp, sha256 FROM document JOIN content ON content.id = content_id "
            "WHERE path = ? AND NOT is_added",
            stored_path(path),
        )
        # A file with an invalid stamp is read again.
        return next(((s if isinstance(s, str) else None, digest) for s, digest in rows), None)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Return the paths of all files that are documents, each with its content's digest."""
        for rows in self._blocks(
            "SELECT path, sha256 FROM document JOIN content ON content.id = content_id "
            "WHERE NOT is_added"
        ):
            with translated_errors(self.path):
                yield from [(path_of(path), digest) for path, digest in rows]

    def has_content(self, digest: bytes) -> bool:
        """Tell whether the collection has this content."""
        return self._value("SELECT id FROM content WHERE sha256 = ?", digest) is not None

    def has_passage(self, digest: bytes) -> bool:
        """Tell whether the collection has the vector of this passage."""
        return self._value("SELECT id FROM passage WHERE sha256 = ?", digest) is not None

    # Writing

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction.

        Raises:
            CollectionError: it cannot be written, for example because the disk is full.

        """
        with self._transaction() as connection:
            batch.write(connection)

    def settle(self) -> None:
        """Make exactly the passages of documents searchable, whatever program wrote the file."""
        with self._transaction() as connection:
            expected = ids_of([id for (id,) in connection.execute(f"{_WANTED})")])
            coded = codes.ids(connection)
            codes.drop(connection, np.setdiff1d(coded, expected))
            codes.add(connection, np.setdiff1d(expected, coded))
            PASSAGES.settle(connection, expected)
            documents = connection.execute("SELECT id FROM document")
            PATHS.settle(connection, ids_of([id for (id,) in documents]))

    def delete_kept_chunks(self) -> None:
        """Delete the contents and chunks that are in no document; their passages stay."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM content WHERE id NOT IN (SELECT content_id FROM document)"
            )

    def delete_kept(self) -> int:
        """Delete for good all passages that are in no document; return their number."""
        # Deleted texts are overwritten, even if the file cannot be made smaller.
        self._rows("PRAGMA secure_delete = ON")
        # Otherwise the log beside the file may need more room than the disk has.
        self._rows("PRAGMA wal_autocheckpoint = 100")
        self.delete_kept_chunks()
        kept = self._rows("SELECT id FROM passage WHERE id NOT IN (SELECT passage_id FROM chunk)")
        for start in range(0, len(kept), _FEW):
            part = kept[start : start + _FEW]
            with self._transaction() as connection:
                ids = np.array(part, "<i8")[:, 0]
                codes.drop(connection, ids)
                PASSAGES.drop(connection, ids)
                connection.executemany("DELETE FROM passage WHERE id = ?", part)
        with self._transaction() as connection:
            for index in (PASSAGES, PATHS):
                index.optimize(connection)
        return len(kept)

    def codes(self) -> Iterator[tuple[Ids, Bits]]:
        """Yield blocks of passage ids (n,) and codes (n, d / 64, rounded up), see `codes.pack`."""
        return self._blocks_once("codes", self._read_codes)

    def _read_codes(self) -> Iterator[tuple[Ids, Bits]]:
        with translated_errors(self.path):
            limit_work(self._connection, self.path)
            yield from codes.read(self._connection, self.dimensions)

    # Searching

    def vectors(self, ids: Ids | None = None) -> Iterator[tuple[Ids, Floats]]:
        """Yield blocks of ascending passage ids (n,) and their vectors (n, d).

        They are those of `ids`, or of all passages of documents.

        Raises:
            CollectionError: a passage is missing, or a vector is not of unit length.

        """
        if ids is None:
            return self._blocks_once("vectors", self._all_vectors)
        return self._vectors(ids)

    def _all_vectors(self) -> Iterator[tuple[Ids, Floats]]:
        rows = self._rows(f"{_WANTED})")
        with translated_errors(self.path):
            ids = ids_of([id for (id,) in rows])
        return self._vectors(ids)

    def _vectors(self, ids: Ids) -> Iterator[tuple[Ids, Floats]]:
        dimensions = self.dimensions
        # Values of another length are not even read.
        blocks = self._blocks(
            "SELECT id, CASE WHEN length(vector) = ? THEN vector END FROM passage "
            "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            4 * dimensions,
            json.dumps(ids.tolist()),
        )
        last, count = 0, 0
        for rows in blocks:
            with translated_errors(self.path):
                read = ids_of([id for id, _ in rows])
                last, count = ascending(read, last), count + len(read)
                vectors = vectors_of([vector for _, vector in rows], dimensions)
            yield read, vectors
        with translated_errors(self.path):
            if count != len(ids):
                raise DamagedError("a passage is missing")

    def use_path_filter(self, matches: Callable[[str], bool]) -> None:
        """Set the path filter of `passages_under` and `locations`, a function of str to bool."""
        self._connection.create_function("wanted", 1, lambda path: matches(path_of(path)))

    def passages_under(self) -> Ids:
        """Return the ids of passages in documents within the path filter."""
        rows = self._rows(f"{_WANTED} WHERE wanted(path))")
        with translated_errors(self.path):
            return ids_of([id for (id,) in rows])

    def count_records(self) -> int:
        """Count the records in documents within the path filter."""
        return int(
            self._value(
                "SELECT coalesce(sum(records), 0) FROM document JOIN (SELECT content_id, "
                "count(DISTINCT record) AS records FROM chunk GROUP BY content_id) "
                "USING (content_id) WHERE wanted(path)"
            )
        )

    def first_locations(self, ids: Ids) -> Iterator[tuple[Location, int]]:
        """Yield the first location of each passage, by ascending id, and how many locations it has.

        Passages without a location are left out.
        """
        blocks = self._blocks(
            "SELECT passage_id, path, record, first_line, last_line, start FROM chunk "
            "JOIN document USING (content_id) WHERE passage_id IN (SELECT value FROM json_each(?)) "
            "ORDER BY passage_id, path, record, start",
            json.dumps(ids.tolist()),
        )
        rows = itertools.chain.from_iterable(blocks)
        for _, locations in itertools.groupby(rows, key=operator.itemgetter(0)):
            (_, *first), *others = locations
            with translated_errors(self.path):
                location = location_of(*first)
            yield location, 1 + len(others)

    def standing(self) -> Iterator[tuple[Location, str, Floats]]:
        """Yield each location in the order of paths and lines, with its text and vector (d,).

        It reads one row at a time, as texts may be long.
        """
        dimensions = self.dimensions
        with translated_errors(self.path):
            limit_work(self._connection, self.path)
            # Joins in this order need no sorting.
            cursor = self._connection.execute(
                "SELECT path, record, first_line, last_line, start, passage.sha256, heading, text, "
                "CASE WHEN length(vector) = ? THEN vector END FROM document "
                "CROSS JOIN chunk USING (content_id) CROSS JOIN passage ON passage.id = passage_id "
                "ORDER BY path, record, start",
                (4 * dimensions,),
            )
            last: tuple[bool, bytes, int, int] = (False, b"", 0, 0)
            for number, (*numbers, start, digest, heading, text, vector) in enumerate(cursor, 1):
                location = location_of(*numbers, start)
                position = (*order_of(location.path), location.record, location.start)
                if position <= last:
                    raise DamagedError("passages occur twice")
                last = position
                _, text = passage_of(heading, text, digest)
                yield location, text, vector_of(vector, dimensions)
                if number % _ROWS == 0:
                    limit_work(self._connection, self.path)

    def text(self, passage: int) -> tuple[str, str]:
        """Return the heading and the text of a passage."""
        rows = self._rows("SELECT heading, text, sha256 FROM passage WHERE id = ?", passage)
        with translated_errors(self.path):
            return passage_of(*(rows[0] if rows else (None, None, None)))
