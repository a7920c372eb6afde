"""The document that describes the routes of a server: https://spec.openapis.org/oas/v3.1.0."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping

from starlette.routing import BaseRoute

from jlocal._version import __version__
from jlocal.server.dialects import error_schema
from jlocal.server.guard import PUBLIC
from jlocal.server.service import DescribedRoute

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_KEY = {"key": {"type": "http", "scheme": "bearer"}}


def openapi_document(routes: Iterable[BaseRoute], *, needs_key: bool) -> dict[str, object]:
    """Describe the routes of a server.

    Args:
        routes: of the application; those that `route` has made are described.
        needs_key: whether clients must send a key.

    """
    described = [route for route in routes if isinstance(route, DescribedRoute)]
    paths: dict[str, dict[str, object]] = {}
    tags: dict[str, str] = {}
    for route in described:
        module = sys.modules[route.handler.__module__]
        tag = _tag(module.__name__)
        tags[tag] = _first_line(module)
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, tag, needs_key)
    document: dict[str, object] = {
        "openapi": "3.1.0",
        "info": {
            "title": "jlocal",
            "version": __version__,
            "description": "Embeddings and search on this machine.",
        },
        "tags": [{"name": name, "description": line} for name, line in tags.items()],
        "paths": paths,
    }
    if needs_key:
        document["components"] = {"securitySchemes": _KEY}
        document["security"] = [{"key": []}]
    return document


def _operation(route: DescribedRoute, tag: str, needs_key: bool) -> dict[str, object]:
    doc, path = route.doc, route.path
    parameters: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    operation: dict[str, object] = {
        "tags": [tag],
        "operationId": _id(route),
        "summary": _first_line(route.handler),
    }
    if route.method == "GET":
        parameters += [
            _query_parameter(name, schema, name in doc.required, doc.example)
            for name, schema in doc.fields.items()
        ]
    elif doc.fields:
        body: dict[str, object] = {
            "schema": {
                "type": "object",
                "properties": dict(doc.fields),
                "required": [*doc.required],
            }
        }
        if doc.example is not None:
            body["example"] = doc.example
        operation["requestBody"] = {
            "required": bool(doc.required),
            "content": {"application/json": body},
        }
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = {
        "200": {"description": "The answer.", "content": {doc.media: {"schema": doc.answer}}},
        "default": {
            "description": "An error.",
            "content": {"application/json": {"schema": error_schema(path)}},
        },
    }
    if needs_key and route.method == "GET" and path in PUBLIC:
        operation["security"] = []
    return operation


def _query_parameter(
    name: str, schema: Mapping[str, object], required: bool, example: Mapping[str, object] | None
) -> dict[str, object]:
    parameter: dict[str, object] = {
        "name": name,
        "in": "query",
        "required": required,
        "schema": _without_null(schema),
    }
    if example and name in example:
        parameter["example"] = example[name]
    return parameter


def _without_null(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the schema of a field in a query, where nothing is null."""
    kinds, choices = schema.get("type"), schema.get("enum")
    plain = dict(schema)
    if isinstance(kinds, list):
        plain["type"] = kinds[0]
    if isinstance(choices, list):
        plain["enum"] = [choice for choice in choices if choice is not None]
    return plain


def _tag(module: str) -> str:
    return module.rpartition(".")[2]


def _id(route: DescribedRoute) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"\1", route.path))
    return "_".join((route.method.lower(), *words))


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]
