"""ollama's protocol: https://github.com/ollama/ollama/blob/main/docs/api.md."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from starlette.responses import Response
from starlette.routing import Route

from jlocal._version import __version__
from jlocal.gguf.types import file_type_name
from jlocal.models import registry
from jlocal.server.answers import truncation_headers
from jlocal.server.dialects import json_response
from jlocal.server.inputs import read_inputs
from jlocal.server.models import ServedModel, Side
from jlocal.server.schema import (
    INPUT,
    INTEGER,
    STRING,
    VECTOR,
    Doc,
    flag,
    list_of,
    record,
    text,
    whole,
)
from jlocal.server.service import Call, Prompt, Service, route

# Clients decide by it which routes there are: these are those of this release of ollama.
_VERSION = "0.33.0"
_TAG = ":latest"
_NANOSECONDS = 1_000_000_000
_MODEL = text("A name of /api/tags; the default model if missing.")
_EMBED = Doc(
    fields={
        "model": _MODEL,
        "input": INPUT,
        "dimensions": whole("Keep so many leading components; 0 keeps all.", 0),
        "truncate": flag("Truncate texts that are too long; otherwise refused.", default=True),
    },
    example={"input": ["Mars is called the Red Planet."]},
    answer={
        "type": "object",
        "properties": {
            "model": STRING,
            "embeddings": list_of(VECTOR),
            "total_duration": {**INTEGER, "description": "In nanoseconds."},
            "load_duration": {**INTEGER, "description": "In nanoseconds."},
            "prompt_eval_count": {**INTEGER, "description": "Tokens of all texts."},
        },
        "required": ["model", "embeddings"],
    },
)
_EMBED_PROMPT = Doc(
    fields={"model": _MODEL, "prompt": text("The text.")},
    example={"prompt": "Mars is called the Red Planet."},
    answer=record({"embedding": VECTOR}),
)
_DETAILS = record(
    {
        "parent_model": STRING,
        "format": STRING,
        "family": STRING,
        "families": list_of(STRING),
        "parameter_size": STRING,
        "quantization_level": STRING,
    }
)
_LIST = Doc(
    answer=record(
        {
            "models": list_of(
                record(
                    {
                        "name": STRING,
                        "model": STRING,
                        "modified_at": STRING,
                        "size": {**INTEGER, "description": "Of the file, in bytes."},
                        "digest": STRING,
                        "details": _DETAILS,
                    }
                )
            )
        }
    )
)
_SHOW = Doc(
    fields={"model": _MODEL, "name": text("The same, for older clients.")},
    example={},
    answer=record(
        {
            "license": STRING,
            "modelfile": STRING,
            "parameters": STRING,
            "template": STRING,
            "details": _DETAILS,
            "model_info": {"type": "object", "description": "Metadata of the model's file."},
            "capabilities": list_of(STRING),
            "modified_at": STRING,
        }
    ),
)
_VERSIONS = Doc(answer=record({"version": STRING, "jlocal": STRING}))


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol."""
    return [
        route(service, "POST", "/api/embed", embed, _EMBED),
        route(service, "POST", "/api/embeddings", embed_prompt, _EMBED_PROMPT),
        route(service, "GET", "/api/tags", tags, _LIST),
        route(service, "GET", "/api/ps", loaded, _LIST),
        route(service, "POST", "/api/show", show, _SHOW),
        route(service, "GET", "/api/version", version, _VERSIONS),
    ]


async def embed(call: Call) -> Response:
    """Embed texts; a text that is too long is truncated unless `truncate` is false."""
    fields, start = call.fields, time.perf_counter()
    model, side = _model(call.service, fields.text("model"))
    value = fields.get("input")
    answer: dict[str, object] = {"model": fields.text("model") or model.id}
    if value in (None, []):
        return json_response({**answer, "embeddings": []})
    inputs = read_inputs(fields, "input", takes_token_ids=False)
    dimensions = fields.whole("dimensions", 0, model.profile.dimensions) or None
    embedded = await call.service.embed(
        model,
        inputs,
        Prompt(side),
        truncation="right" if fields.flag("truncate", True) else None,
        dimensions=dimensions,
    )
    total = time.perf_counter() - start
    computed = embedded.tokenization + embedded.waiting + embedded.computation
    return json_response(
        {
            **answer,
            "embeddings": list(embedded.finished(dimensions)),
            "total_duration": int(total * _NANOSECONDS),
            "load_duration": int(max(0.0, total - computed) * _NANOSECONDS),
            "prompt_eval_count": sum(embedded.tokens),
        },
        headers=truncation_headers(embedded),
    )


async def embed_prompt(call: Call) -> Response:
    """Embed one text, as older clients ask."""
    fields = call.fields
    model, side = _model(call.service, fields.text("model"))
    prompt = fields.text("prompt")
    if not prompt:
        return json_response({"embedding": []})
    embedded = await call.service.embed(model, [prompt], Prompt(side), truncation="right")
    vector = embedded.finished()[0]
    return json_response({"embedding": vector}, headers=truncation_headers(embedded))


async def tags(call: Call) -> Response:
    """List the models, each also with its two sides."""
    pool = call.service.pool
    return json_response({"models": [_entry(name, model) for name, model in pool.ids()]})


async def loaded(call: Call) -> Response:
    """List the models in memory."""
    return json_response(
        {"models": [_entry(model.id, model) for model in call.service.pool.loaded]}
    )


async def show(call: Call) -> Response:
    """Describe a model."""
    fields = call.fields
    model, _ = _model(call.service, fields.text("model") or fields.text("name"))
    profile = model.profile
    architecture = profile.architecture
    return json_response(
        {
            "license": profile.license or "",
            "modelfile": "",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _details(model),
            "model_info": {
                "general.architecture": architecture,
                "general.file_type": profile.file_type,
                f"{architecture}.context_length": profile.context,
                f"{architecture}.embedding_length": profile.dimensions,
                f"{architecture}.pooling_type": profile.pooling,
            },
            "capabilities": ["embedding"],
            "modified_at": _time(model),
        }
    )


async def version(_: Call) -> Response:
    """Say which release of ollama has these routes."""
    return json_response({"version": _VERSION, "jlocal": __version__})


def _model(service: Service, name: str | None) -> tuple[ServedModel, Side | None]:
    return service.pool.find(name and name.removesuffix(_TAG))


def _entry(name: str, model: ServedModel) -> dict[str, object]:
    # "NAME:query" has a tag already.
    name = name if ":" in name else name + _TAG
    known = registry.find_by_path(model.path)
    return {
        "name": name,
        "model": name,
        "modified_at": _time(model),
        "size": model.path.stat().st_size,
        "digest": (known and known.sha256) or "",
        "details": _details(model),
    }


def _details(model: ServedModel) -> dict[str, object]:
    profile = model.profile
    return {
        "parent_model": "",
        "format": "gguf",
        "family": profile.architecture,
        "families": [profile.architecture],
        "parameter_size": "",
        "quantization_level": file_type_name(profile.file_type) or "unknown",
    }


def _time(model: ServedModel) -> str:
    return datetime.fromtimestamp(model.created, timezone.utc).isoformat()
