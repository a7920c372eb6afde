"""JSON Schema of requests and answers, in as few words as the fields of a request need.

The helpers are named as those of `Fields`, with which handlers read the described fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Schema = Mapping[str, object]


@dataclass(frozen=True)
class Doc:
    """The request and the answer of a route; the docstring of its handler describes it.

    Attributes:
        fields: of the JSON object in the body, or of the query of a GET request; a field that is
            null counts as missing.
        required: names of fields without which a request is refused.
        example: a body, or a query, that any server answers; None where there is none.
        answer: the schema of the answer.
        media: the media type of the answer.

    """

    fields: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    example: Mapping[str, object] | None = None
    answer: Schema = field(default_factory=dict)
    media: str = "application/json"


def text(description: str = "", choices: Iterable[str] = ()) -> Schema:
    """Describe a field that `Fields.text` or `Fields.choice` reads."""
    if known := list(choices):
        return {**_field("string", description), "enum": [*known, None]}
    return _field("string", description)


def flag(description: str, *, default: bool) -> Schema:
    """Describe a field that `Fields.flag` reads."""
    return {**_field("boolean", description), "default": default}


def whole(description: str, least: int, most: int | None = None) -> Schema:
    """Describe a field that `Fields.whole` reads."""
    limits = {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    return {**_field("integer", description), **limits}


def number(description: str) -> Schema:
    """Describe a field that `Fields.number` reads."""
    return _field("number", description)


def texts(description: str, choices: Iterable[str] = ()) -> Schema:
    """Describe a field that `Fields.texts` reads."""
    known = list(choices)
    item = {"type": "string", "enum": known} if known else {"type": "string"}
    return {**_field("array", description), "items": item}


def record(fields: Mapping[str, Schema], description: str = "") -> Schema:
    """Describe an object of an answer, in which no field is missing."""
    described = {"description": description} if description else {}
    return {
        "type": "object",
        "properties": dict(fields),
        "required": [*fields],
        **described,
    }


def list_of(item: Schema, description: str = "") -> Schema:
    """Describe a list of an answer."""
    described = {"description": description} if description else {}
    return {"type": "array", "items": item, **described}


def one_of(*schemas: Schema, description: str = "") -> Schema:
    """Describe a value in one of several forms."""
    described = {"description": description} if description else {}
    return {"anyOf": [*schemas], **described}


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
VECTOR = list_of(NUMBER, "The components of a vector.")
# A text, or several; or token ids, where the server takes them.
INPUT = one_of(
    STRING,
    list_of(STRING),
    list_of(record({"text": STRING})),
    list_of({"type": "integer", "minimum": 0}),
    list_of(list_of({"type": "integer", "minimum": 0})),
    description="A text, or a list of texts; token ids where the server was started with "
    "--token-ids.",
)


def _field(kind: str, description: str) -> dict[str, object]:
    described = {"description": description} if description else {}
    return {"type": [kind, "null"], **described}
