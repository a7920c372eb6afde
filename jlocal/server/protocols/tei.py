"""text-embeddings-inference's protocol, as its router has it (router/src/http/server.rs).

https://github.com/huggingface/text-embeddings-inference. Its requests name no model: a field
`model`, or a parameter of the URL, does. Unlike there, nothing is truncated unless it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jlocal._version import __version__
from jlocal.errors import TextTooLongError
from jlocal.gguf.types import file_type_name
from jlocal.llama.features import Device
from jlocal.llama.planning import SEQUENCE_LIMIT, token_budget
from jlocal.server.answers import truncation_headers
from jlocal.server.dialects import error_response, json_response
from jlocal.server.fields import Fields, wrong
from jlocal.server.inputs import Input, read_inputs
from jlocal.server.models import ServedModel, Side
from jlocal.server.problem import Kind, Problem, invalid
from jlocal.server.protocols.llama_server import tokenize_content
from jlocal.server.schema import (
    BOOLEAN,
    INPUT,
    INTEGER,
    NUMBER,
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
from jlocal.server.tokens import decode, read_ids, tokenize

if TYPE_CHECKING:
    from jlocal.embed.prepare import Truncation
    from jlocal.server.embedding import Embedded

_DIRECTIONS: dict[str, Truncation] = {
    "left": "left",
    "Left": "left",
    "right": "right",
    "Right": "right",
}
_POOLING = {"last": "last_token"}
_MODEL = text("A name of /v1/models; the default model if missing. The URL may have it as ?model=.")
_PROMPT_NAME = text("A prompt of the model, such as query.")
_TRUNCATE = flag("Truncate texts that are too long; otherwise refused.", default=False)
_DIRECTION = text("The side that truncated texts lose.", _DIRECTIONS)
_IDS = list_of({"type": "integer", "minimum": 0})
_NUMBER_OR_NULL = {"type": ["integer", "null"]}
_EMBED = Doc(
    fields={
        "inputs": INPUT,
        "model": _MODEL,
        "prompt_name": _PROMPT_NAME,
        "normalize": flag("Give vectors of length 1.", default=True),
        "dimensions": whole("Keep so many leading components.", 1),
        "truncate": _TRUNCATE,
        "truncation_direction": _DIRECTION,
    },
    required=("inputs",),
    example={"inputs": ["Mars is called the Red Planet."]},
    answer=list_of(VECTOR),
)
_SIMILARITY = Doc(
    fields={
        "inputs": {
            **record({"source_sentence": STRING, "sentences": list_of(STRING)}),
            "description": "One text, and those that it is compared with.",
        },
        "parameters": {
            "type": ["object", "null"],
            "description": "How the texts are embedded.",
            "properties": {
                "prompt_name": _PROMPT_NAME,
                "truncate": _TRUNCATE,
                "truncation_direction": _DIRECTION,
            },
        },
        "model": _MODEL,
    },
    required=("inputs",),
    example={"inputs": {"source_sentence": "the red planet", "sentences": ["Mars", "Venus"]}},
    answer=list_of(NUMBER, "Cosines."),
)
_TOKENIZE = Doc(
    fields={
        "inputs": {**one_of(STRING, list_of(STRING)), "description": "A text, or several."},
        "content": text(
            "A text, as llama-server's clients send it; then add_special and with_pieces are the "
            "other fields, and the answer is an object with tokens."
        ),
        "model": _MODEL,
        "prompt_name": _PROMPT_NAME,
        "add_special_tokens": flag("List the tokens around the text too.", default=True),
    },
    example={"inputs": "Mars is called the Red Planet."},
    answer=one_of(
        list_of(
            list_of(
                record(
                    {
                        "id": INTEGER,
                        "text": STRING,
                        "special": BOOLEAN,
                        "start": {**_NUMBER_OR_NULL, "description": "In characters."},
                        "stop": _NUMBER_OR_NULL,
                    }
                )
            )
        ),
        record({"tokens": list_of({})}),
    ),
)
_DECODE = Doc(
    fields={
        "ids": one_of(_IDS, list_of(_IDS), description="Token ids of one text, or of several."),
        "model": _MODEL,
        "skip_special_tokens": flag("Leave out special tokens.", default=True),
    },
    required=("ids",),
    example={"ids": [100]},
    answer=list_of(STRING),
)
_INFO = Doc(
    fields={"model": text("A name of /v1/models; the default model if missing.")},
    answer={
        "type": "object",
        "properties": {
            "model_id": STRING,
            "model_dtype": STRING,
            "model_type": {"type": "object"},
            "max_input_length": {**INTEGER, "description": "Tokens of a text."},
            "max_client_batch_size": {**INTEGER, "description": "Texts of a request."},
            "auto_truncate": BOOLEAN,
            "version": STRING,
        },
        "required": ["model_id", "model_type", "max_input_length", "auto_truncate"],
    },
)
_UNABLE = {
    "/embed_all": "the model pools: it gives one vector for a text, and none for a token",
    "/embed_sparse": "model is not an embedding model with SPLADE pooling",
    "/predict": "model is not a classifier model",
    "/rerank": "model is not a re-ranker model",
}


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol; those that no model here can answer refuse."""
    return [
        *(route(service, "POST", path, embed, _EMBED) for path in ("/embed", "/invocations", "/")),
        *(Route(path, _refusal(path, why), methods=["POST"]) for path, why in _UNABLE.items()),
        route(service, "POST", "/similarity", similarity, _SIMILARITY),
        route(service, "POST", "/tokenize", tokenize_inputs, _TOKENIZE),
        route(service, "POST", "/decode", decode_ids, _DECODE),
        route(service, "GET", "/info", info, _INFO),
    ]


async def embed(call: Call) -> Response:
    """Embed texts: one list of floats for each, also where the input is a single text."""
    start = time.perf_counter()
    fields, service = call.fields, call.service
    served, side = _model(call)
    inputs = read_inputs(fields, "inputs", takes_token_ids=service.options.takes_token_ids)
    dimensions = fields.whole("dimensions", 1, served.profile.dimensions)
    embedded = await _embed(call, _Request(served, side, inputs, fields, dimensions))
    is_unit = fields.flag("normalize", True)
    vectors = embedded.finished(dimensions) if is_unit else embedded.pooled(dimensions)
    return json_response(list(vectors), headers=_headers(embedded, start))


async def similarity(call: Call) -> Response:
    """Return the cosine of one text with each of several."""
    start = time.perf_counter()
    inputs, parameters = call.fields.part("inputs"), call.fields.part("parameters")
    source, sentences = inputs.text("source_sentence"), inputs.texts("sentences")
    if source is None or sentences is None:
        raise invalid("inputs is an object with source_sentence and sentences", "inputs")
    if not sentences:
        raise Problem(Kind.EMPTY, "`inputs.sentences` cannot be empty", parameter="inputs")
    served, side = _model(call)
    request = _Request(served, side, [source, *sentences], parameters)
    embedded = await _embed(call, request)
    vectors = embedded.finished()
    return json_response(vectors[1:] @ vectors[0], headers=_headers(embedded, start))


async def tokenize_inputs(call: Call) -> Response:
    """Return the tokens of texts with their places; llama-server's clients send `content`."""
    fields = call.fields
    if fields.get("content") is not None and fields.get("inputs") is None:
        return await tokenize_content(call)
    served, side = _model(call)
    texts = read_inputs(fields, "inputs", takes_token_ids=False)
    _check_batch(call.service, texts)
    name = fields.text("prompt_name") or served.prompt_name(side)
    adds_special = fields.flag("add_special_tokens", True)
    located = await tokenize(
        call.service, served, [text for text in texts if isinstance(text, str)], name
    )
    return json_response(
        [
            [
                {
                    "id": piece.token,
                    "text": piece.text,
                    "special": piece.special,
                    "start": piece.start,
                    "stop": piece.stop,
                }
                for piece in pieces
                if adds_special or not piece.special
            ]
            for pieces in located
        ]
    )


async def decode_ids(call: Call) -> Response:
    """Return the texts of token ids."""
    fields = call.fields
    value = fields.get("ids")
    if not isinstance(value, list):
        raise wrong("ids", value, "it is a list of token ids, or a list of such lists")
    if not value:
        raise Problem(Kind.EMPTY, "`ids` cannot be empty", parameter="ids")
    rows = value if all(isinstance(row, list) for row in value) else [value]
    _check_batch(call.service, rows)
    served, _ = _model(call)
    texts = await decode(
        call.service,
        served,
        [read_ids(row, "ids") for row in rows],
        skip_special=fields.flag("skip_special_tokens", True),
    )
    return json_response(texts)


async def _token_budget(call: Call, model: ServedModel) -> int:
    """Return the most tokens of a batch of several texts, also of a model that is not loaded."""

    def device() -> Device:
        from jlocal.llama.library import device_for

        return device_for(call.service.options.compute.gpu_layers)

    if model.scheduler:
        return model.scheduler.token_budget
    # Only llama.cpp knows whether there is a GPU, and loading it takes a moment.
    return token_budget(await asyncio.to_thread(device))


async def info(call: Call) -> Response:
    """Describe the model and the limits."""
    served, _ = _model(call)
    profile, limits = served.profile, call.service.options.limits
    pooling = _POOLING.get(profile.pooling, profile.pooling)
    return json_response(
        {
            "model_id": served.id,
            "model_sha": None,
            "model_dtype": (file_type_name(profile.file_type) or "unknown").lower(),
            "served_model_name": served.id,
            "model_type": {"embedding": {"pooling": pooling}},
            "max_concurrent_requests": limits.connections,
            "max_input_length": profile.context,
            "max_batch_tokens": await _token_budget(call, served),
            "max_batch_requests": SEQUENCE_LIMIT,
            "max_client_batch_size": limits.inputs,
            "auto_truncate": False,
            "tokenization_workers": min(32, (os.cpu_count() or 1) + 4),  # asyncio's threads
            "version": __version__,
            "sha": None,
            "docker_label": None,
        }
    )


@dataclass(frozen=True)
class _Request:
    """Texts of one request for a model; `options` say how they are embedded."""

    model: ServedModel
    side: Side | None
    inputs: Sequence[Input]
    options: Fields
    dimensions: int | None = None


async def _embed(call: Call, request: _Request) -> Embedded:
    _check_batch(call.service, request.inputs)
    options = request.options
    name = options.text("prompt_name")
    direction = options.choice("truncation_direction", _DIRECTIONS) or "right"
    try:
        return await call.service.embed(
            request.model,
            request.inputs,
            Prompt(None, name) if name else Prompt(request.side),
            truncation=_DIRECTIONS[direction] if options.flag("truncate", False) else None,
            dimensions=request.dimensions,
        )
    except TextTooLongError as error:
        where = "" if error.index is None else f" (input {error.index})"
        raise Problem(
            Kind.TOO_LONG,
            f"`inputs` must have less than {error.limit} tokens. Given: {error.tokens}{where}; "
            "split it, or send truncate: true",
            parameter="inputs",
        ) from None


def _check_batch(service: Service, inputs: Sequence[object]) -> None:
    limit = service.options.limits.inputs
    if len(inputs) > limit:
        raise invalid(f"batch size {len(inputs)} > maximum allowed batch size {limit}", "inputs")


def _model(call: Call) -> tuple[ServedModel, Side | None]:
    name = call.fields.text("model") or call.request.query_params.get("model")
    return call.service.pool.find(name)


def _headers(embedded: Embedded, start: float) -> dict[str, str]:
    total = time.perf_counter() - start
    return {
        "x-compute-type": embedded.device,
        "x-compute-time": _milliseconds(total),
        "x-compute-characters": str(embedded.characters),
        "x-compute-tokens": str(sum(embedded.tokens)),
        "x-total-time": _milliseconds(total),
        "x-tokenization-time": _milliseconds(embedded.tokenization),
        "x-queue-time": _milliseconds(embedded.waiting),
        "x-inference-time": _milliseconds(embedded.computation),
        **truncation_headers(embedded),
    }


def _milliseconds(seconds: float) -> str:
    return str(int(1000 * seconds))


def _refusal(path: str, why: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(_: Request) -> Response:
        return error_response(path, Problem(Kind.UNABLE, why))

    return refuse
