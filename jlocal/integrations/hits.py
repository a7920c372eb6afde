"""Hits of a collection as the retrievers of other libraries return them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jlocal.collection.collection import Collection
from jlocal.collection.search.hits import Hit
from jlocal.collection.search.pathfilter import PathFilter
from jlocal.collection.search.ranking import Mode
from jlocal.errors import ArgumentError


@dataclass(frozen=True)
class Search:
    """A search in a collection, for any query; the fields are arguments of `Collection.search`."""

    collection: Collection
    n: int = 4
    mode: Mode = "both"
    path: PathFilter | None = None
    where: Mapping[str, Any] | None = None
    min_score: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.collection, Collection):
            name = type(self.collection).__name__
            raise ArgumentError(
                f"the collection is of type {name}; pass a Collection", argument="collection"
            )

    def hits(self, query: str) -> list[Hit]:
        """Return the hits of a query, best first."""
        return self.collection.search(
            query,
            self.n,
            self.path,
            mode=self.mode,
            where=self.where,
            min_score=self.min_score,
        )


def metadata(hit: Hit) -> dict[str, Any]:
    """Return the metadata of a text with those of the hit, which replace others of their name."""
    fields = {
        "source": hit.path,
        "first_line": hit.first_line,
        "last_line": hit.last_line,
        "page": hit.page,
        "headings": " > ".join(hit.headings) or None,
        "score": float(hit.score),
        "relevance": float(hit.relevance),
    }
    known = {name: value for name, value in fields.items() if value is not None}
    return {**(hit.metadata or {}), **known}
