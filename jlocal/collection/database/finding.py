"""Full-text search of an open collection, and the locations of passages."""

from __future__ import annotations

import itertools
import json
import operator

import numpy as np

from jlocal.collection.database.base import Database
from jlocal.collection.database.bm25 import Scores
from jlocal.collection.database.connect import translated_errors
from jlocal.collection.database.fulltext import PASSAGES, PATHS, Index
from jlocal.collection.database.values import Ids, ids_of, location_of
from jlocal.collection.location import Location
from jlocal.errors import CollectionError


class Finding(Database):
    """Finds passages and documents by their words, and the locations of passages."""

    _has_sound_words = False

    def count_passages(self) -> int:
        """Count the passages of documents, which are the searchable vectors."""
        statement = "SELECT coalesce(sum(length(passage_ids)), 0) FROM code"
        return self.once("passages", lambda: int(self._value(statement)) // 8)

    def count_documents(self) -> int:
        """Count the documents, files and added texts."""
        statement = "SELECT count(id) FROM document"
        return self.once("documents", lambda: int(self._value(statement)))

    def check_words(self) -> None:
        """Check that all passages of documents have words, once while the file is open.

        Raises:
            CollectionError: one has none, and no word could find it.

        """
        if not self._has_sound_words:
            if self._value("SELECT count(id) FROM words_docsize") != self.count_passages():
                raise CollectionError(
                    f"{self.path} lacks words of some passages, as an older jlocal leaves it; "
                    "index anything into it once more",
                    path=self.path,
                )
            self._has_sound_words = True

    def words(self, query: str, allowed: Ids | None = None) -> Scores:
        """Find passages that have words of a query.

        Args:
            query: as typed; nothing in it is syntax.
            allowed: ids (m,) of the only passages to look at.

        """
        self.check_words()
        return self._search(PASSAGES, query, self.count_passages(), allowed)

    def path_words(self, query: str) -> Scores:
        """Find documents whose paths have words of a query, as `words` finds passages."""
        return self._search(PATHS, query, self.count_documents(), None)

    def _search(self, index: Index, query: str, rows: int, allowed: Ids | None) -> Scores:
        with translated_errors(self.path):
            return index.search(self._rows, query, rows, allowed)

    def locations(self, passages: Ids, limit: int) -> list[tuple[int, int, Location]]:
        """Where each of these passages first stands in each record of documents that are wanted.

        Args:
            passages: ids (n,).
            limit: the most locations of a passage.

        Returns:
            Of each location the ids of the passage and the document, and the location.

        """
        rows = itertools.chain.from_iterable(
            self._blocks(
                "SELECT passage_id, document.id, path, record, first_line, last_line, "
                "min(start) "
                "FROM chunk JOIN document USING (content_id) "
                "WHERE passage_id IN (SELECT value FROM json_each(?)) AND wanted(path) "
                "GROUP BY passage_id, path, record ORDER BY passage_id, path, record",
                json.dumps(passages.tolist()),
            )
        )
        locations = itertools.groupby(rows, key=operator.itemgetter(0))
        first = [row for _, some in locations for row in itertools.islice(some, limit)]
        with translated_errors(self.path):
            documents = ids_of([document for _, document, *_ in first]).tolist()
            return [
                (passage, document, location_of(*location))
                for document, (passage, _, *location) in zip(documents, first, strict=True)
            ]

    def passages_in(self, documents: Ids, limit: int) -> Ids:
        """Return the ascending ids of passages in these documents, at most `limit` of each."""
        rows = [
            row
            for document in documents.tolist()
            for row in self._rows(
                "SELECT passage_id FROM document JOIN chunk USING (content_id) "
                "WHERE document.id = ? AND wanted(path) LIMIT ?",
                document,
                limit,
            )
        ]
        with translated_errors(self.path):
            return np.unique(ids_of([id for (id,) in rows]))
