"""How each protocol words an error; the path of a request tells its protocol."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.responses import Response

from jlocal.server.problem import Kind, Problem
from jlocal.server.schema import INTEGER, STRING, Schema, record, text

_Body = dict[str, object]

# https://platform.openai.com/docs/guides/error-codes
_OPENAI_TYPES = {
    Kind.UNAUTHORIZED: "authentication_error",
    Kind.FORBIDDEN: "permission_error",
    Kind.NOT_FOUND: "not_found_error",
    Kind.OVERLOADED: "rate_limit_error",
    Kind.INTERNAL: "server_error",
    Kind.UNAVAILABLE: "server_error",
}
_OPENAI_CODES = {
    Kind.TOO_LONG: "context_length_exceeded",
    Kind.UNAUTHORIZED: "invalid_api_key",
    Kind.NOT_FOUND: "not_found",
    Kind.OVERLOADED: "rate_limit_exceeded",
}
# ErrorType of text-embeddings-inference, router/src/http/types.rs.
_TEI_TYPES = {
    Kind.EMPTY: "Empty",
    Kind.OVERLOADED: "Overloaded",
    Kind.UNABLE: "Backend",
    Kind.INTERNAL: "Backend",
    Kind.UNAVAILABLE: "Unhealthy",
}
# Its statuses, where they differ from the usual ones.
_TEI_STATUSES = {Kind.INVALID: 422, Kind.TOO_LONG: 422, Kind.UNABLE: 424, Kind.INTERNAL: 424}
_TEI_PATHS = frozenset(
    {"/embed", "/embed_all", "/embed_sparse", "/similarity", "/tokenize", "/decode", "/info"}
    | {"/rerank", "/predict", "/invocations", "/"}
)
_LLAMA_SERVER_PATHS = frozenset({"/embedding", "/props", "/detokenize"})


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a JSON answer; NumPy arrays in it are written as lists."""
    return Response(
        orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY),
        status,
        headers,
        media_type="application/json",
    )


def error_response(path: str, problem: Problem) -> Response:
    """Return the answer to a request that has a problem, as its protocol words it."""
    status, body = _dialect(path)(problem)
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.kind is Kind.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(body, status, headers)


def error_schema(path: str) -> Schema:
    """Describe the errors of a path."""
    return _SCHEMAS[_dialect(path)]


def _dialect(path: str) -> Callable[[Problem], tuple[int, _Body]]:
    if path in _TEI_PATHS:
        return _tei
    if path in _LLAMA_SERVER_PATHS:
        return _llama_server
    if path.startswith("/api/"):
        return _ollama
    if path.startswith("/v2/"):
        return _cohere
    return _openai


def _openai(problem: Problem) -> tuple[int, _Body]:
    error = {
        "message": problem.message,
        "type": _OPENAI_TYPES.get(problem.kind, "invalid_request_error"),
        "param": problem.parameter,
        "code": _OPENAI_CODES.get(problem.kind),
    }
    return problem.status, {"error": error}


def _tei(problem: Problem) -> tuple[int, _Body]:
    status = _TEI_STATUSES.get(problem.kind, problem.status)
    return status, {
        "error": problem.message,
        "error_type": _TEI_TYPES.get(problem.kind, "Validation"),
    }


def _ollama(problem: Problem) -> tuple[int, _Body]:
    # ollama answers a full queue with 503.
    status = 503 if problem.kind is Kind.OVERLOADED else problem.status
    return status, {"error": problem.message}


def _cohere(problem: Problem) -> tuple[int, _Body]:
    return problem.status, {"message": problem.message}


def _llama_server(problem: Problem) -> tuple[int, _Body]:
    kind = _OPENAI_TYPES.get(problem.kind, "invalid_request_error")
    error = {"code": problem.status, "message": problem.message, "type": kind}
    return problem.status, {"error": error}


_SCHEMAS: dict[Callable[[Problem], tuple[int, _Body]], Schema] = {
    _openai: record(
        {"error": record({"message": STRING, "type": STRING, "param": text(), "code": text()})}
    ),
    _tei: record({"error": STRING, "error_type": STRING}),
    _ollama: record({"error": STRING}),
    _cohere: record({"message": STRING}),
    _llama_server: record({"error": record({"code": INTEGER, "message": STRING, "type": STRING})}),
}
