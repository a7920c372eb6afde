"""OpenAI's protocol, with the fields of Jina's API on the same route.

https://platform.openai.com/docs/api-reference/embeddings, https://jina.ai/embeddings
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from jlocal.server.answers import PRECISIONS, truncation_headers, written
from jlocal.server.dialects import json_response
from jlocal.server.fields import Fields
from jlocal.server.inputs import INPUT_TYPES, read_inputs
from jlocal.server.models import ServedModel, Side
from jlocal.server.problem import invalid
from jlocal.server.schema import (
    INPUT,
    INTEGER,
    STRING,
    VECTOR,
    Doc,
    flag,
    list_of,
    one_of,
    record,
    text,
    whole,
)
from jlocal.server.service import Call, Prompt, Service, route

# Jina's names of tasks: the task of the model's file, and the side.
_TASKS: dict[str, tuple[str, Side | None]] = {
    "retrieval.query": ("retrieval", "query"),
    "retrieval.passage": ("retrieval", "document"),
    "text-matching": ("text-matching", None),
    "classification": ("classification", None),
    "separation": ("clustering", None),
    "clustering": ("clustering", None),
}
_EMBEDDINGS = Doc(
    fields={
        "input": INPUT,
        "model": text("A model of /v1/models; the default model if missing."),
        "encoding_format": text("How vectors are written: OpenAI's name.", PRECISIONS),
        "embedding_type": text("The same: Jina's name.", PRECISIONS),
        "encoding_type": text("The same: another of Jina's names.", PRECISIONS),
        "dimensions": whole("Keep so many leading components.", 1),
        "input_type": text("Which prompt the texts get.", INPUT_TYPES),
        "task": text("Jina's name of the task, and of the prompt.", _TASKS),
        "prompt_name": text("A prompt of the model, by its name."),
        "normalized": flag("Scale vectors to length 1.", default=True),
        "truncate": flag("Truncate texts that are too long; otherwise refused.", default=False),
        "late_chunking": flag("Refused if true.", default=False),
    },
    required=("input",),
    example={"input": ["Mars is called the Red Planet."]},
    answer=record(
        {
            "object": STRING,
            "data": list_of(
                record({"object": STRING, "index": INTEGER, "embedding": one_of(VECTOR, STRING)})
            ),
            "model": STRING,
            "usage": record({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
        }
    ),
)
_MODEL = record({"id": STRING, "object": STRING, "created": INTEGER, "owned_by": STRING})
_MODELS = Doc(answer=record({"object": STRING, "data": list_of(_MODEL)}))


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol."""
    return [
        route(service, "POST", "/v1/embeddings", embeddings, _EMBEDDINGS),
        # text-embeddings-inference answers here as OpenAI does.
        route(service, "POST", "/embeddings", embeddings, _EMBEDDINGS),
        route(service, "GET", "/v1/models", models, _MODELS),
        route(service, "GET", "/v1/models/{model:path}", model, Doc(answer=_MODEL)),
    ]


async def embeddings(call: Call) -> Response:
    """Embed texts."""
    fields, service = call.fields, call.service
    served, side = service.pool.find(fields.text("model"))
    inputs = read_inputs(fields, "input", takes_token_ids=service.options.takes_token_ids)
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
        vectors = embedded.finished(dimensions, PRECISIONS[embedding_type])
    elif PRECISIONS[embedding_type] == "float32":
        vectors = embedded.pooled(dimensions)
    else:
        raise invalid("only float vectors come with normalized: false", "normalized")
    tokens = sum(embedded.tokens)
    return json_response(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": value}
                for index, value in enumerate(written(vectors, embedding_type))
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


def _entry(name: str, model: ServedModel) -> dict[str, object]:
    return {"id": name, "object": "model", "created": model.created, "owned_by": "jlocal"}


def _embedding_type(fields: Fields) -> str:
    for name in ("encoding_format", "embedding_type", "encoding_type"):
        if value := fields.choice(name, PRECISIONS):
            return value
    return "float"


def _for_task(
    service: Service, served: ServedModel, side: Side | None, fields: Fields
) -> tuple[ServedModel, Side | None]:
    """Return the model for the task of a request, and the side that it names."""
    if input_type := fields.choice("input_type", INPUT_TYPES):
        side = INPUT_TYPES[input_type]
    task = fields.choice("task", _TASKS)
    if task is None:
        return served, side
    needed, task_side = _TASKS[task]
    return service.pool.for_task(served, needed), task_side or side
