"""llama-server's protocol: https://github.com/ggml-org/llama.cpp, tools/server/README.md.

`/embeddings` is text-embeddings-inference's here, and the fields of `/tokenize` decide whose it is.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from jlocal._version import __version__
from jlocal.gguf.types import file_type_name
from jlocal.server.answers import truncation_headers
from jlocal.server.dialects import json_response
from jlocal.server.fields import wrong
from jlocal.server.inputs import read_inputs
from jlocal.server.problem import invalid
from jlocal.server.schema import (
    INPUT,
    INTEGER,
    STRING,
    VECTOR,
    Doc,
    list_of,
    record,
    text,
    whole,
)
from jlocal.server.service import Call, Prompt, Service, route
from jlocal.server.tokens import decode, read_ids, tokenize

_RAW, _EUCLIDEAN = -1, 2  # its numbers of norms
_MODEL = text("A name of /v1/models; the default model if missing.")
_EMBEDDING = Doc(
    fields={
        "content": INPUT,
        "input": {**INPUT, "description": "The same, under another name."},
        "model": _MODEL,
        "embd_normalize": whole(
            "2 for vectors of length 1, or -1 for vectors as pooled.", _RAW, _EUCLIDEAN
        ),
    },
    example={"content": "Mars is called the Red Planet."},
    answer=list_of(record({"index": INTEGER, "embedding": list_of(VECTOR)})),
)
_PROPS = Doc(
    answer=record(
        {
            "default_generation_settings": record({"n_ctx": INTEGER}),
            "total_slots": INTEGER,
            "model_alias": STRING,
            "model_path": {**STRING, "description": "The name of the file."},
            "build_info": STRING,
        }
    )
)
_DETOKENIZE = Doc(
    fields={"tokens": {**list_of(INTEGER), "description": "Token ids."}, "model": _MODEL},
    example={"tokens": [100]},
    answer=record({"content": STRING}),
)


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol."""
    return [
        route(service, "POST", "/embedding", embedding, _EMBEDDING),
        route(service, "GET", "/props", props, _PROPS),
        route(service, "POST", "/detokenize", detokenize, _DETOKENIZE),
    ]


async def embedding(call: Call) -> Response:
    """Embed texts."""
    fields = call.fields
    model, side = call.service.pool.find(fields.text("model"))
    name = "input" if fields.get("content") is None else "content"
    inputs = read_inputs(fields, name, takes_token_ids=call.service.options.takes_token_ids)
    norm = fields.get("embd_normalize")
    if norm not in (None, _RAW, _EUCLIDEAN):
        raise wrong("embd_normalize", norm, "it is 2, or -1 for vectors as pooled")
    embedded = await call.service.embed(model, inputs, Prompt(side))
    vectors = embedded.pooled() if norm == _RAW else embedded.finished()
    return json_response(
        [{"index": index, "embedding": [row]} for index, row in enumerate(vectors)],
        headers=truncation_headers(embedded),
    )


async def props(call: Call) -> Response:
    """Describe the default model, without its path."""
    model = call.service.pool.default
    profile = model.profile
    return json_response(
        {
            "default_generation_settings": {"n_ctx": profile.context},
            "total_slots": 1,
            "model_alias": model.id,
            "model_path": model.path.name,
            "model_ftype": file_type_name(profile.file_type),
            "modalities": {"vision": False, "audio": False},
            "build_info": f"jlocal {__version__}",
            "is_sleeping": model.embedder is None,
        }
    )


async def tokenize_content(call: Call) -> Response:
    """Return the token ids of a text, without special tokens unless they are asked for."""
    fields = call.fields
    model, _ = call.service.pool.find(fields.text("model"))
    text = fields.text("content") or ""
    if not fields.flag("parse_special", True):
        raise invalid("this server has no parse_special: false", "parse_special")
    (pieces,) = await tokenize(call.service, model, [text])
    if not fields.flag("add_special", False):
        pieces = [piece for piece in pieces if not piece.special]
    if fields.flag("with_pieces", False):
        return json_response(
            {"tokens": [{"id": piece.token, "piece": piece.text} for piece in pieces]}
        )
    return json_response({"tokens": [piece.token for piece in pieces]})


async def detokenize(call: Call) -> Response:
    """Return the text of token ids."""
    fields = call.fields
    model, _ = call.service.pool.find(fields.text("model"))
    ids = read_ids(fields.get("tokens") or [], "tokens")
    (text,) = await decode(call.service, model, [ids], skip_special=False)
    return json_response({"content": text})
