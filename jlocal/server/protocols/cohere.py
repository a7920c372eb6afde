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
from jlocal.server.service import Call, Prompt, Service, route
from jlocal.vectors import finish

if TYPE_CHECKING:
    from jlocal.embed.prepare import Truncation

_TRUNCATIONS: dict[str, Truncation | None] = {"NONE": None, "START": "left", "END": "right"}
# Input types that are tasks of a model, not sides of retrieval.
_TASKS = ("classification", "clustering")


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol."""
    return [route(service, "POST", "/v2/embed", embed)]


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
        name: written(finish(embedded.vectors, dimensions, PRECISIONS[name]), name)
        for name in types
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
