"""A passage in its document: the text around it, from the collection and never from the disk."""

from __future__ import annotations

import contextlib

from jlocal.collection.collection import Collection
from jlocal.collection.database.excerpts import Excerpt
from jlocal.collection.database.store import Store
from jlocal.collection.location import Location, is_id
from jlocal.excerpts.code import is_code
from jlocal.server.problem import Kind, Problem
from jlocal.server.search.answers import marked_segments
from jlocal.server.search.collections import ServedCollection
from jlocal.server.search.question import Place

# Pages of a PDF file without text that are passed over on the way to the one before.
_MOST_EMPTY = 100
_END = 1 << 53


def read(served: ServedCollection, place: Place, query: str | None) -> dict[str, object]:
    """Read a part of a document with the text around it, as JSON values.

    Args:
        served: the collection.
        place: the part of the document.
        query: whose words are marked in the part.

    Raises:
        Problem: the collection has no such document.
        CollectionError: it cannot be read.

    """
    names = served.contents().names
    with contextlib.closing(Store(served.path)) as store:
        path = names.find(store, place.document, place.kind)
    first = max(0, place.start - place.before)
    part = path and served.collection.read(
        path, place.record, first, place.end + place.after - first
    )
    if not path or not part:
        raise Problem(
            Kind.NOT_FOUND,
            f"collection {served.name} has no document {place.document[:200]!r} now",
            parameter="document",
        )
    start = min(max(place.start, part.start), part.end) - part.start
    end = min(max(place.end, part.start), part.end) - part.start
    location = Location(path, part.record, part.first_line, part.last_line, is_id(path))
    first_line, last_line = location.lines
    return {
        "collection": served.name,
        "document": names.name(path),
        "kind": "text" if is_id(path) else "file",
        "record": part.record,
        "page": location.page,
        "start": part.start,
        "end": part.end,
        "length": part.length,
        "code": is_code(path),
        "first_line": first_line,
        "last_line": last_line,
        "before": part.text[:start],
        "passage": marked_segments(part.text[start:end], query),
        "after": part.text[end:],
        "previous": _previous(served.collection, path, part),
        "following": _place(part.following),
    }


def _previous(collection: Collection, path: str, part: Excerpt) -> dict[str, int] | None:
    """Return where the text before a part ends; None at the beginning of the document."""
    if part.start:
        return _place((part.record, part.start))
    for record in range(part.record - 1, max(-1, part.record - _MOST_EMPTY), -1):
        before = collection.read(path, record, _END, 0)
        if before and before.length:
            return _place((record, before.length))
    return None


def _place(at: tuple[int, int] | None) -> dict[str, int] | None:
    return None if at is None else {"record": at[0], "start": at[1]}
