"""Hits and documents as JSON values."""

from __future__ import annotations

from jlocal.collection.document_names import DocumentNames
from jlocal.collection.location import Location, is_id
from jlocal.collection.search.hits import Hit
from jlocal.excerpts.code import is_code
from jlocal.excerpts.excerpt import Line, marked, paragraphs
from jlocal.excerpts.terms import Terms

# An excerpt has about as many letters as so many lines of so many columns.
_COLUMNS, _LINES = 90, 4


def hit_values(
    hit: Hit, collection: str, names: DocumentNames, terms: Terms, *, has_text: bool
) -> dict[str, object]:
    """Return a hit.

    Args:
        hit: of a search.
        collection: its name.
        names: of the documents.
        terms: the words of the query, which are marked.
        has_text: whether the whole passage is in it, beside the excerpt.

    """
    code = is_code(hit.path)
    lines = paragraphs(hit.text, terms, _COLUMNS, _LINES, headings=hit.headings, is_code=code)
    values: dict[str, object] = {
        "collection": collection,
        "document": names.name(hit.path),
        "kind": _kind(hit.path),
        "record": hit.record,
        "start": hit.start,
        "end": hit.start + len(hit.text),
        "page": hit.page,
        "first_line": hit.first_line,
        "last_line": hit.last_line,
        "headings": list(hit.headings),
        "excerpt": [segments(line) for line in lines],
        "code": code,
        "score": _rounded(hit.score),
        "relevance": _rounded(hit.relevance),
        "cosine": _rounded(hit.cosine),
        "bm25": _rounded(hit.bm25),
        "state": hit.state,
        "others": [_place(other, names) for other in hit.others],
        "metadata": None if hit.metadata is None else dict(hit.metadata),
    }
    return values | {"text": hit.text} if has_text else values


def segments(line: Line) -> list[dict[str, object]]:
    """Return a text in pieces, each with whether it is a word of the query."""
    return [{"text": piece.text, "match": piece.is_match} for piece in line]


def marked_segments(text: str, query: str | None) -> list[dict[str, object]]:
    """Return a text in pieces, in which the words of a query are marked."""
    return segments(marked(text, Terms(query or "")))


def _place(location: Location, names: DocumentNames) -> dict[str, object]:
    first, last = location.lines
    return {
        "document": names.name(location.path),
        "kind": _kind(location.path),
        "record": location.record,
        "start": location.start,
        "page": location.page,
        "first_line": first,
        "last_line": last,
    }


def _kind(path: str) -> str:
    return "text" if is_id(path) else "file"


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)
