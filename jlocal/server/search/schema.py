"""JSON Schema of the answers of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jlocal.server.schema import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Schema,
    list_of,
    number,
    record,
    text,
    whole,
)

if TYPE_CHECKING:
    from jlocal.collection.search.ranking import Mode

SCORES: dict[Mode, tuple[str, str]] = {
    "both": ("relevance", "the probability that the passage answers the query, from 0 to 1"),
    "words": ("bm25", "BM25 of the words of the passage and of its path, from 0 up"),
    "meaning": ("cosine", "the cosine of query and passage, from -1 to 1"),
}
_RECORD: Schema = {
    **INTEGER,
    "description": "Number of the part of the document, such as a page, from 0.",
}
_START: Schema = {**INTEGER, "description": "Position of the first character in the record."}
_LINE = whole("A line of the file, from 1.", 1)
_PAGE = whole("A page of a PDF file, from 1.", 1)
_KIND: Schema = {**STRING, "enum": ["file", "text"]}
_SEGMENTS = list_of(
    record({"text": STRING, "match": BOOLEAN}),
    "The text in pieces, each with whether it is a word of the query.",
)
_PLACE: Schema = {
    "type": ["object", "null"],
    "properties": {"record": INTEGER, "start": INTEGER},
    "required": ["record", "start"],
}
_PASSAGE: dict[str, Schema] = {
    "document": STRING,
    "kind": _KIND,
    "record": _RECORD,
    "start": _START,
    "page": _PAGE,
    "first_line": _LINE,
    "last_line": _LINE,
}
_HIT: Schema = {
    "type": "object",
    "properties": {
        "collection": STRING,
        **_PASSAGE,
        "end": INTEGER,
        "headings": list_of(STRING),
        "excerpt": list_of(_SEGMENTS),
        "code": BOOLEAN,
        "score": number("The score of the mode; `score` beside `hits` names it."),
        "relevance": number("The probability that the passage answers the query."),
        "cosine": number("The cosine of query and passage."),
        "bm25": number("BM25 of the words of the passage and of its path."),
        "state": text("Whether the file is as it was when it was indexed."),
        "others": list_of(record(_PASSAGE), "Where the same passage is as well."),
        "metadata": {"type": ["object", "null"]},
        "text": {**STRING, "description": "The whole passage."},
    },
    "required": ["collection", *_PASSAGE, "end", "excerpt", "score"],
}
HITS = record(
    {
        "query": STRING,
        "mode": STRING,
        "score": record({"name": STRING, "meaning": STRING}),
        "collections": list_of(STRING),
        "hits": list_of(_HIT, "The best first."),
        "failed": list_of(
            record({"collection": STRING, "message": STRING}),
            "Collections that could not be searched.",
        ),
        "seconds": NUMBER,
    }
)
COLLECTIONS = record(
    {
        "collections": list_of(
            record(
                {
                    "name": STRING,
                    "documents": INTEGER,
                    "passages": INTEGER,
                    "model": text("The model of its vectors."),
                    "dimensions": whole("Of its vectors.", 1),
                    "folders": list_of(record({"name": STRING, "documents": INTEGER})),
                    "error": text("Why it cannot be searched."),
                }
            )
        )
    }
)
DOCUMENT = record(
    {
        "collection": STRING,
        **_PASSAGE,
        "end": INTEGER,
        "length": {**INTEGER, "description": "Characters of the record."},
        "code": BOOLEAN,
        "before": STRING,
        "passage": _SEGMENTS,
        "after": STRING,
        "previous": _PLACE,
        "following": _PLACE,
    }
)
MAP = record(
    {
        "collection": STRING,
        "layout": STRING,
        "total": {**INTEGER, "description": "Passages of the collection."},
        "groups": list_of(STRING),
        "documents": list_of(STRING),
        "x": list_of(NUMBER, "From left to right, one for each point."),
        "y": list_of(NUMBER),
        "group": list_of(INTEGER, "Positions in `groups`."),
        "document": list_of(INTEGER, "Positions in `documents`."),
        "kind": list_of(_KIND),
        "record": list_of(INTEGER),
        "start": list_of(INTEGER),
        "length": list_of(INTEGER),
        "where": list_of(STRING),
        "text": list_of(STRING),
    }
)
