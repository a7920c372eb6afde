"""The published description of text-embeddings-inference's routes that jlocal also serves.

Written after docs/openapi.json of https://github.com/huggingface/text-embeddings-inference, version
1.7.1: the same names, types and requirements. Its defaults, which are strings such as "false" where
a boolean is meant, are left out.
"""

from __future__ import annotations

from typing import Any

_STRING = {"type": "string"}
_BOOLEAN = {"type": "boolean"}
_WHOLE = {"type": "integer", "minimum": 0}
_FLOATS = {"type": "array", "items": {"type": "number"}}
_TOKEN = {"type": "integer", "format": "int32", "minimum": 0}
_IDS = {"type": "array", "items": _TOKEN}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "nullable": True}


def _object(required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


_INPUT_TYPE = {"oneOf": [_STRING, _IDS]}
_INPUT = {"oneOf": [_INPUT_TYPE, _array(_INPUT_TYPE)]}
_TRUNCATION = {
    "truncate": _nullable(_BOOLEAN),
    "truncation_direction": {"type": "string", "enum": ["Left", "Right"]},
}
_PROMPT = {"prompt_name": _nullable(_STRING)}
_ERROR = _object(
    "error error_type",
    error=_STRING,
    error_type={
        "type": "string",
        "enum": ["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"],
    },
)
_USAGE = _object("prompt_tokens total_tokens", prompt_tokens=_WHOLE, total_tokens=_WHOLE)
_EMBEDDING = _object(
    "object embedding index",
    object=_STRING,
    embedding={"oneOf": [_FLOATS, _STRING]},
    index=_WHOLE,
)
_SIMPLE_TOKEN = _object(
    "id text special",
    id=_TOKEN,
    text=_STRING,
    special=_BOOLEAN,
    start=_nullable(_WHOLE),
    stop=_nullable(_WHOLE),
)
_INFO = _object(
    "model_id model_dtype model_type max_concurrent_requests max_input_length max_batch_tokens "
    "max_client_batch_size auto_truncate tokenization_workers version",
    model_id=_STRING,
    model_sha=_nullable(_STRING),
    model_dtype=_STRING,
    model_type=_object("embedding", embedding=_object("pooling", pooling=_STRING)),
    max_concurrent_requests=_WHOLE,
    max_input_length=_WHOLE,
    max_batch_tokens=_WHOLE,
    max_batch_requests=_nullable(_WHOLE),
    max_client_batch_size=_WHOLE,
    auto_truncate=_BOOLEAN,
    tokenization_workers=_WHOLE,
    version=_STRING,
    sha=_nullable(_STRING),
    docker_label=_nullable(_STRING),
)


def _answers(schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    def content(part: dict[str, Any]) -> dict[str, Any]:
        return {"description": "-", "content": {"application/json": {"schema": part}}}

    return {"200": content(schema), **{str(status): content(_ERROR) for status in errors}}


def _post(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": _answers(answer, 413, 422, 424, 429),
        }
    }


def _get(answer: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"responses": answer}}


_EMBED = {"inputs": _INPUT, **_PROMPT, **_TRUNCATION}
_OK = {"200": {"description": "-"}}
DESCRIPTION: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Text Embeddings Inference", "version": "1.7.1"},
    "paths": {
        "/embed": _post(_object("inputs", **_EMBED, normalize=_BOOLEAN), _array(_FLOATS)),
        "/embed_all": _post(_object("inputs", **_EMBED), _array(_array(_FLOATS))),
        "/similarity": _post(
            _object(
                "inputs",
                inputs=_object(
                    "source_sentence sentences",
                    source_sentence=_STRING,
                    sentences=_array(_STRING),
                ),
                parameters=_nullable(_object("truncation_direction", **_PROMPT, **_TRUNCATION)),
            ),
            _FLOATS,
        ),
        "/tokenize": _post(
            _object(
                "inputs",
                inputs={"oneOf": [_STRING, _array(_STRING)]},
                add_special_tokens=_BOOLEAN,
                **_PROMPT,
            ),
            _array(_array(_SIMPLE_TOKEN)),
        ),
        "/decode": _post(
            _object("ids", ids={"oneOf": [_IDS, _array(_IDS)]}, skip_special_tokens=_BOOLEAN),
            _array(_STRING),
        ),
        "/v1/embeddings": {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": _object(
                                "input",
                                input=_INPUT,
                                model=_nullable(_STRING),
                                user=_nullable(_STRING),
                                encoding_format={"type": "string", "enum": ["float", "base64"]},
                            )
                        }
                    },
                },
                # Errors are OpenAI's here, as in its later versions.
                "responses": _answers(
                    _object(
                        "object data model usage",
                        object=_STRING,
                        data=_array(_EMBEDDING),
                        model=_STRING,
                        usage=_USAGE,
                    )
                ),
            }
        },
        "/info": _get(_answers(_INFO)),
        "/health": _get(_OK),
        "/metrics": _get(_OK),
    },
}
