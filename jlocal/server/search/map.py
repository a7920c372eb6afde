"""The map of a collection: a point for each passage, laid out once for each version."""

from __future__ import annotations

import threading
from collections import OrderedDict

import orjson

from jlocal.collection.document_names import clean
from jlocal.collection.location import is_id
from jlocal.map.page import coordinates
from jlocal.map.picture import draw
from jlocal.server.search.collections import ServedCollection

_MOST_KEPT = 4
# The beginning of a passage, as a label of its point.
_CHARACTERS = 160

_kept: OrderedDict[object, bytes] = OrderedDict()
_drawing = threading.Lock()


def map_of(served: ServedCollection, limit: int) -> bytes:
    """Return the points of a collection and their labels, as JSON.

    Args:
        served: the collection.
        limit: the most points; a larger collection is sampled at random.

    Raises:
        CollectionError: it is empty, or cannot be read.

    """
    contents = served.contents()
    key = (served.path, contents.version, limit)
    # One at a time: drawing takes the memory of all vectors' blocks.
    with _drawing:
        if key not in _kept:
            _kept[key] = _drawn(served, limit)
            while len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return _kept[key]


def _drawn(served: ServedCollection, limit: int) -> bytes:
    picture = draw(served.path, limit=limit, characters=_CHARACTERS)
    names = served.contents().names
    places = [passage.location for passage in picture.passages if passage.location]
    documents = [names.name(place.path) for place in places]
    listed = sorted(set(documents))
    numbers = {name: number for number, name in enumerate(listed)}
    x, y = coordinates(picture)
    return orjson.dumps(
        {
            "collection": served.name,
            "layout": picture.layout,
            "total": picture.total,
            "groups": [clean(name) for name in picture.groups],
            "documents": listed,
            "x": x,
            "y": y,
            "group": list(picture.group_of),
            "document": [numbers[name] for name in documents],
            "kind": ["text" if is_id(place.path) else "file" for place in places],
            "record": [place.record for place in places],
            "start": [place.start for place in places],
            "length": [passage.length for passage in picture.passages],
            "where": [passage.where for passage in picture.passages],
            "text": [passage.text for passage in picture.passages],
        }
    )
