"""The page that shows the routes of a server: one document without scripts."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

_Node = Mapping[str, Any]


@functools.cache
def _file(ending: str) -> str:
    return Path(__file__).with_name(f"reference_page.{ending}").read_text(encoding="utf-8")


def content_security_policy() -> str:
    """Return the policy of the page: its own style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_file("css").encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def page(document: _Node, url: str) -> str:
    """Return the page of an OpenAPI document.

    Args:
        document: the result of `openapi_document`.
        url: where the server answers, for the examples.

    """
    info = document["info"]
    sections = "".join(_section(document, tag, url) for tag in document["tags"])
    return Template(_file("html")).substitute(
        title=escape(info["title"]),
        style=_file("css"),
        version=escape(info["version"]),
        description=escape(info["description"]),
        sections=sections,
    )


def _section(document: _Node, tag: _Node, url: str) -> str:
    routes = "".join(
        _route(method, path, operation, url)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    )
    return f"<section><h2>{escape(tag['description'])}</h2>{routes}</section>"


def _route(method: str, path: str, operation: _Node, url: str) -> str:
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><b>{method.upper()}</b>'
        f"<code>{escape(path)}</code><span>{escape(operation['summary'])}</span></summary><div>"
        f"{_fields(operation)}{_answer(operation)}{_example(method, path, operation, url)}"
        "</div></details>"
    )


def _fields(operation: _Node) -> str:
    rows = "".join(_row(*field) for field in _described(operation))
    return f"<h3>Fields</h3><dl>{rows}</dl>" if rows else ""


def _described(operation: _Node) -> Iterator[tuple[str, _Node, bool]]:
    """Yield the name of each field of a request, its schema, and whether it is required."""
    for parameter in operation.get("parameters", ()):
        yield parameter["name"], parameter["schema"], parameter["required"]
    body = _body(operation).get("schema", {})
    for name, schema in body.get("properties", {}).items():
        yield name, schema, name in body["required"]


def _row(name: str, schema: _Node, is_required: bool) -> str:
    facts = [kind(schema), *(["required"] if is_required else [])]
    if "minimum" in schema:
        facts.append(f"from {schema['minimum']}")
    if "maximum" in schema:
        facts.append(f"to {schema['maximum']}")
    if "default" in schema:
        facts.append(f"{json.dumps(schema['default'])} if missing")
    return (
        f"<dt><code>{escape(name)}</code></dt><dd>{escape(schema.get('description', ''))} "
        f"<em>{escape(', '.join(facts))}</em></dd>"
    )


def kind(schema: _Node) -> str:
    """Describe the values that a schema allows."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(part) for part in schema["anyOf"]))
    if choices := [choice for choice in schema.get("enum", ()) if choice is not None]:
        return " | ".join(choices)
    name = schema.get("type", "anything")
    if isinstance(name, list):
        name = name[0]
    if name == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if name == "object" and schema.get("properties"):
        fields = ", ".join(f"{field}: {kind(part)}" for field, part in schema["properties"].items())
        return f"{{{fields}}}"
    return str(name)


def _answer(operation: _Node) -> str:
    [(media, content)] = operation["responses"]["200"]["content"].items()
    schema = content["schema"]
    rows = "".join(_row(name, part, False) for name, part in schema.get("properties", {}).items())
    shape = f"<dl>{rows}</dl>" if rows else f"<p>{escape(kind(schema))}, {escape(media)}</p>"
    return f"<h3>Answer</h3>{shape}"


def _example(method: str, path: str, operation: _Node, url: str) -> str:
    words = ["curl", f"{url}{path}"]
    if method == "get":
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                words += ["--url-query", f"{parameter['name']}={parameter['example']}"]
    else:
        example = _body(operation).get("example")
        if example is None:
            return ""
        words += ["-d", json.dumps(example, ensure_ascii=False)]
    return f"<h3>Try it</h3><pre>{escape(shlex.join(words))}</pre>"


def _body(operation: _Node) -> _Node:
    body: _Node = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return body
