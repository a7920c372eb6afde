"""The full-text indices over passages and paths, kept with SQLite's FTS5.

The indexed passages are those that have a code. The indices keep no texts: to remove a text, FTS5
must be given the same text again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from jlocal.collection.database.bm25 import Scores, Select, score
from jlocal.collection.database.values import DamagedError, Ids, ids_of, path_text_of
from jlocal.collection.database.words import query_terms, segmented

# Vowel signs are parts of words. English words are stemmed: measured, that finds more, also in
# German, and costs other languages nothing.
_TOKENIZE = "porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"


@dataclass(frozen=True)
class Index:
    """A full-text index.

    Attributes:
        table: its name.
        columns: the names of its columns.
        source: a statement that gives the id and the columns of the rows with given ids.
        read: checks and converts a value of these columns.

    """

    table: str
    columns: tuple[str, ...]
    source: str
    read: Callable[[object], str]

    @property
    def statement(self) -> str:
        """The statement that creates the index."""
        columns = ", ".join(self.columns)
        return (
            f"CREATE VIRTUAL TABLE {self.table} USING fts5 ({columns}, content='', "
            f'tokenize="{_TOKENIZE}")'
        )

    def ids(self, connection: sqlite3.Connection) -> Ids:
        """Return the ids (n,) of all indexed rows."""
        rows = connection.execute(f"SELECT id FROM {self.table}_docsize")
        return ids_of([id for (id,) in rows])

    def add(self, connection: sqlite3.Connection, ids: Ids) -> None:
        """Add the words of these rows (n,) where they are missing."""
        missing = np.setdiff1d(ids, self._present(connection, ids))
        names = ", ".join(("rowid", *self.columns))
        connection.executemany(
            f"INSERT INTO {self.table} ({names}) VALUES (?{', ?' * len(self.columns)})",
            self._rows(connection, missing),
        )

    def drop(self, connection: sqlite3.Connection, ids: Ids) -> None:
        """Remove the words of these rows (n,) where there are any; the rows must still be there."""
        names = ", ".join((self.table, "rowid", *self.columns))
        connection.executemany(
            f"INSERT INTO {self.table} ({names}) VALUES ('delete', ?{', ?' * len(self.columns)})",
            self._rows(connection, self._present(connection, ids)),
        )

    def settle(self, connection: sqlite3.Connection, wanted: Ids) -> None:
        """Index exactly these rows (n,), and no others."""
        present = self.ids(connection)
        if len(np.setdiff1d(present, wanted)):
            # The words of rows that another program removed are unknown.
            self.clear(connection)
            present = present[:0]
        self.add(connection, np.setdiff1d(wanted, present))

    def clear(self, connection: sqlite3.Connection) -> None:
        """Remove all words."""
        connection.execute(f"INSERT INTO {self.table} ({self.table}) VALUES ('delete-all')")

    def optimize(self, connection: sqlite3.Connection) -> None:
        """Erase all that is left of dropped rows."""
        connection.execute(f"INSERT INTO {self.table} ({self.table}) VALUES ('optimize')")

    def _present(self, connection: sqlite3.Connection, ids: Ids) -> Ids:
        rows = connection.execute(
            f"SELECT id FROM {self.table}_docsize WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids.tolist()),),
        )
        return ids_of([id for (id,) in rows])

    def _rows(self, connection: sqlite3.Connection, ids: Ids) -> Iterator[tuple[object, ...]]:
        # In ascending order, FTS5 collects many rows before it writes.
        for id in np.sort(ids).tolist():
            row = connection.execute(self.source, (id,)).fetchone()
            if row is None:
                raise DamagedError(f"what {self.table} are of is missing")
            yield (id, *(segmented(self.read(value)) for value in row))

    def search(self, select: Select, query: str, rows: int, allowed: Ids | None = None) -> Scores:
        """Find rows that have words of a query.

        Args:
            select: executes a statement of the collection.
            query: as typed; nothing in it is syntax.
            rows: how many rows are indexed.
            allowed: ids (m,) of the only rows to look at.

        """
        return score(select, self.table, query_terms(query), rows, allowed)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise DamagedError("the text of a passage is not text")
    return value


PASSAGES = Index(
    "words", ("heading", "text"), "SELECT heading, text FROM passage WHERE id = ?", _text
)
PATHS = Index("path_words", ("path",), "SELECT path FROM document WHERE id = ?", path_text_of)
