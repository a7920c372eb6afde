"""Cohere's protocol: https://docs.cohere.com/reference/embed, as vLLM also serves it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from jlocal.server.answers import PRECISIONS, truncation_headers, written
from jlocal.server.dialects import json_response
from jlocal.server.fields import Fields, wrong
from jlocal.server.inputs import INPUT_TYPES
from jlocal.server.models import ServedModel
from jlocal.server.problem import Kind, Problem, invalid
from jlocal.server.schema import (
    INTEGER,
    STRING,
    VECTOR,
    Doc,
    list_of,
    one_of,
    record,
    text,
    whole,
)
from jlocal.server.schema import (
    texts as text_list,
)
from jlocal.server.service import Call, Prompt, Service, route

if TYPE_CHECKING:
    from jlocal.embed.prepare import Truncation

_TRUNCATIONS: dict[str, Truncation | None] = {"NONE": None, "START": "left", "END": "right"}
# Input types that are tasks of a model, not sides of retrieval.
_TASKS = ("classification", "clustering")
_INPUT = record({"content": list_of(record({"type": STRING, "text": STRING}))})
_EMBED = Doc(
    fields={
        "texts": text_list("The texts."),
        "inputs": {
            "type": ["array", "null"],
            "items": _INPUT,
            "description": "Texts in the form of messages, in place of `texts`.",
        },
        "model": text("A model of /v1/models; the default model if missing."),
        "input_type": text(
            "Which prompt the texts get: search_query, search_document, classification, "
            "clustering, or a prompt of the model."
        ),
        "embedding_types": text_list("How vectors are written; float if missing.", PRECISIONS),
        "output_dimension": whole("Keep so many leading components.", 1),
        "truncate": text("The side on which a long text loses tokens.", _TRUNCATIONS),
        "images": {"type": ["array", "null"], "description": "Refused: the models read texts."},
        "max_tokens": whole("Refused: the limit is the model's.", 1),
    },
    example={"texts": ["Mars is called the Red Planet."], "input_type": "search_document"},
    answer=record(
        {
            "id": STRING,
            "response_type": STRING,
            "embeddings": {
                "type": "object",
                "description": "The vectors in each of the embedding types.",
                "additionalProperties": list_of(one_of(VECTOR, STRING)),
            },
            "texts": list_of(STRING),
            "meta": {
                "type": "object",
                "properties": {
                    "tokens": record({"input_tokens": INTEGER}),
                    "warnings": list_of(STRING, "How many texts were truncated."),
                },
            },
        }
    ),
)


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol."""
    return [route(service, "POST", "/v2/embed", embed, _EMBED)]


async def embed(call: Call) -> Response:
    """Embed texts in one type or several."""
    fields, service = call.fields, call.service
    served, side = service.pool.find(fields.text("model"))
    texts = _texts(fields)
    types = _types(fields)
    truncate = fields.choice("truncate", _TRUNCATIONS) or "END"
    dimensions = fields.whole("output_dimension", 1, served.profile.dimensions)
    served, prompt = _prompt(service, served, Prompt(side), fields)
    embedded = await service.embed(
        served, texts, prompt, truncation=_TRUNCATIONS[truncate], dimensions=dimensions
    )
    tokens = sum(embedded.tokens)
    meta: dict[str, object] = {
        "api_version": {"version": "2"},
        "billed_units": {"input_tokens": tokens},
        "tokens": {"input_tokens": tokens},
    }
    if embedded.truncated:
        limit = served.profile.context
        meta["warnings"] = [f"{embedded.truncated:,} texts were truncated to {limit:,} tokens"]
    embeddings = {
        name: written(embedded.finished(dimensions, PRECISIONS[name]), name) for name in types
    }
    return json_response(
        {
            "id": str(uuid.uuid4()),
            "response_type": "embeddings_by_type",
            "embeddings": embeddings,
            "texts": texts,
            "meta": meta,
        },
        headers=truncation_headers(embedded),
    )


def _texts(fields: Fields) -> list[str]:
    for name in ("images", "max_tokens"):
        if fields.get(name) is not None:
            raise invalid(f"{name} is not known here; send texts alone", name)
    texts = fields.texts("texts")
    if texts is None and (inputs := fields.get("inputs")) is not None:
        if not isinstance(inputs, list):
            raise wrong("inputs", inputs, "it is a list of objects")
        texts = [_text(item) for item in inputs]
    if not texts:
        raise Problem(Kind.EMPTY, "there are no texts: send at least one", parameter="texts")
    return texts


def _text(item: object) -> str:
    """Return the text of {"content": [{"type": "text", "text": …}]}."""
    content = item.get("content") if isinstance(item, dict) else None
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise wrong("inputs", item, "it is an object whose content is one text")
    return texts[0]


def _types(fields: Fields) -> Sequence[str]:
    types = fields.texts("embedding_types") or ["float"]
    for name in types:
        if name not in PRECISIONS:
            raise wrong("embedding_types", name, f"choose from: {', '.join(PRECISIONS)}")
    return types


def _prompt(
    service: Service, served: ServedModel, prompt: Prompt, fields: Fields
) -> tuple[ServedModel, Prompt]:
    """Return the model and the prompt for the input type; prompts of the model are types too."""
    name = fields.text("input_type")
    if name is None:
        return served, prompt
    if name in _TASKS:
        return service.pool.for_task(served, name), prompt
    if name in INPUT_TYPES:
        return served, Prompt(INPUT_TYPES[name])
    if name in served.profile.prompts:
        return served, Prompt(None, name)
    known = dict.fromkeys((*INPUT_TYPES, *_TASKS, *served.profile.prompts))
    raise wrong("input_type", name, f"choose one of: {', '.join(known)}")
