"""The arguments of requests to a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jlocal.collection.document_names import Kind
    from jlocal.collection.search.ranking import Mode


@dataclass(frozen=True)
class Question:
    """A search.

    Attributes:
        query: the text to search for.
        mode: as of `Collection.search`.
        n: the most hits.
        path: a glob of names of documents; None for all.
        folders: names of folders to search; none are given: all.
        min_score: the least score.
        has_text: whether hits have the whole passage beside the excerpt.

    """

    query: str
    mode: Mode = "both"
    n: int = 10
    path: str | None = None
    folders: tuple[str, ...] = ()
    min_score: float | None = None
    has_text: bool = True


@dataclass(frozen=True)
class Place:
    """A part of a document, and how much of the text around it is read.

    Attributes:
        document: its name.
        kind: "file" or "text"; None for either.
        record: of the document, from 0.
        start: position of the first character in the record.
        end: position after the last character.
        before: how many characters before it.
        after: how many characters after it.

    """

    document: str
    kind: Kind | None
    record: int
    start: int
    end: int
    before: int
    after: int
