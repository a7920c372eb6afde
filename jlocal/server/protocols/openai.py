"""OpenAI's protocol, with the fields of Jina's API on the same route.

https://platform.openai.com/docs/api-reference/embeddings, https://jina.ai/embeddings
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from starlette.responses import Response
from starlette.routing import Route

from jlocal.server.dialects import json_response
from jlocal.server.fields import Fields, wrong
from jlocal.server.models import ServedModel, Side
from jlocal.server.problem import invalid
from jlocal.server.service import Call, Prompt, Service, route
from jlocal.vectors import Vectors, finish

if TYPE_CHECKING:
    from jlocal.server.embedding import Embedded

TRUNCATED_HEADER = "x-truncated-inputs"
_FOREIGN_IDS = (
    "the input is token ids, and another model's ids mean nothing here; send texts, as langchain-"
    "openai does once check_embedding_ctx_length is False, or start the server with --token-ids"
)
# Jina's names of tasks: the task of the model's file, and the side.
_TASKS: dict[str, tuple[str, Side | None]] = {
    "retrieval.query": ("retrieval", "query"),
    "retrieval.passage": ("retrieval", "document"),
    "text-matching": ("text-matching", None),
    "classification": ("classification", None),
    "separation": ("clustering", None),
    "clustering": ("clustering", None),
}
_INPUT_TYPES: dict[str, Side] = {
    "query": "query",
    "search_query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
}
# Embedding types of both APIs, and the precision of each.
_TYPES = {
    "float": "float32",
    "base64": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "binary": "binary",
    "ubinary": "ubinary",
}


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol."""
    return [
        route(service, "POST", "/v1/embeddings", embeddings),
        # text-embeddings-inference answers here as OpenAI does.
        route(service, "POST", "/embeddings", embeddings),
        route(service, "GET", "/v1/models", models),
        route(service, "GET", "/v1/models/{model:path}", model),
    ]


async def embeddings(call: Call) -> Response:
    """Embed texts."""
    fields, service = call.fields, call.service
    served, side = service.pool.find(fields.text("model"))
    inputs = _inputs(fields, takes_token_ids=service.options.takes_token_ids)
    embedding_type = _embedding_type(fields)
    if fields.flag("late_chunking", False):
        raise invalid("late_chunking is not known here; send the chunks as inputs", "late_chunking")
    served, side = _for_task(service, served, side, fields)
    prompt = Prompt(side, fields.text("prompt_name"))
    dimensions = fields.whole("dimensions", 1, served.profile.dimensions)
    embedded = await service.embed(
        served,
        inputs,
        prompt,
        truncation="right" if fields.flag("truncate", False) else None,
        dimensions=dimensions,
    )
    if fields.flag("normalized", True):
        vectors = finish(embedded.vectors, dimensions, _TYPES[embedding_type])
    elif _TYPES[embedding_type] == "float32":
        vectors = np.ascontiguousarray(embedded.vectors[:, :dimensions])
    else:
        raise invalid("only float vectors come with normalized: false", "normalized")
    tokens = sum(embedded.tokens)
    return json_response(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": value}
                for index, value in enumerate(_values(vectors, embedding_type))
            ],
            "model": fields.text("model") or served.id,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        headers=truncation_headers(embedded),
    )


async def models(call: Call) -> Response:
    """List the models, each also with its two sides."""
    data = [_entry(name, model) for name, model in call.service.pool.ids()]
    return json_response({"object": "list", "data": data})


async def model(call: Call) -> Response:
    """Describe one model."""
    name = call.request.path_params["model"]
    return json_response(_entry(name, call.service.pool.find(name)[0]))


def truncation_headers(embedded: Embedded) -> dict[str, str]:
    """Return the header that says how many inputs were truncated; none where none was."""
    return {TRUNCATED_HEADER: str(embedded.truncated)} if embedded.truncated else {}


def _entry(name: str, model: ServedModel) -> dict[str, object]:
    return {"id": name, "object": "model", "created": model.created, "owned_by": "jlocal"}


def _inputs(fields: Fields, *, takes_token_ids: bool) -> list[str | Sequence[int]]:
    value = fields.get("input")
    if value is None:
        raise invalid("input is missing: send a text, or a list of texts", "input")
    items = value if isinstance(value, list) else [value]
    if items and all(type(item) is int for item in items):
        items = [items]
    if not items:
        raise invalid("input is empty: send at least one text", "input")
    return [_input(item, takes_token_ids) for item in items]


def _input(item: object, takes_token_ids: bool) -> str | Sequence[int]:
    if isinstance(item, dict) and isinstance(item.get("text"), str):
        item = item["text"]
    if isinstance(item, str):
        return item
    if isinstance(item, list) and item and all(type(token) is int for token in item):
        if not takes_token_ids:
            raise invalid(_FOREIGN_IDS, "input")
        return item
    raise wrong("input", item, "it is a text, or a list of texts")


def _embedding_type(fields: Fields) -> str:
    for name in ("encoding_format", "embedding_type", "encoding_type"):
        if value := fields.choice(name, _TYPES):
            return value
    return "float"


def _for_task(
    service: Service, served: ServedModel, side: Side | None, fields: Fields
) -> tuple[ServedModel, Side | None]:
    """Return the model for the task of a request, and the side that it names."""
    if input_type := fields.choice("input_type", _INPUT_TYPES):
        side = _INPUT_TYPES[input_type]
    task = fields.choice("task", _TASKS)
    if task is None:
        return served, side
    needed, task_side = _TASKS[task]
    return service.pool.for_task(served, needed), task_side or side


def _values(vectors: Vectors, embedding_type: str) -> list[object]:
    if embedding_type == "base64":
        little = vectors.astype("<f4", copy=False)
        return [base64.b64encode(row.tobytes()).decode("ascii") for row in little]
    return list(vectors)
