"""The description of the routes: whole, and true to what the handlers read and answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from jlocal import Collection
from jlocal.errors import JlocalError
from jlocal.server.app import create_app
from jlocal.server.fields import Fields
from jlocal.server.options import ServerOptions
from jlocal.server.problem import Problem
from jlocal.server.service import Call, DescribedRoute, Service
from support.browser import DRIVER, browser
from support.servers import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory, starter) -> Iterator[Running]:
    """A server that has what the examples ask for."""
    home = tmp_path_factory.mktemp("home")
    (home / "notes").mkdir()
    (home / "notes" / "ferry.md").write_text("The ferry leaves at noon.")
    (home / "notes" / "stove.md").write_text("The stove burns beech wood.")
    (home / "collections").mkdir()
    with Collection(home / "collections" / "notes.db", starter) as collection:
        collection.index(home / "notes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JLOCAL_HOME", str(home))
        with running("-m", "starter") as server:
            yield server


@pytest.fixture(scope="module")
def document(server) -> dict[str, Any]:
    return httpx.get(f"{server.url}/openapi.json").raise_for_status().json()


@pytest.fixture(scope="module")
def routes() -> list[DescribedRoute]:
    app = create_app(Service(ServerOptions(("starter",), is_lazy=True)), logs=False)
    described = [route for route in app.routes if isinstance(route, DescribedRoute)]
    others = {route.path for route in app.routes} - {route.path for route in described}
    # MCP describes itself to its clients; the search page is for people.
    # What no embedding model can answer is refused.
    refused = {"/embed_all", "/embed_sparse", "/predict", "/rerank"}
    assert others - refused <= {"/mcp", "/"}
    return described


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def body(operation: dict[str, Any]) -> dict[str, Any]:
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {})


def test_the_document_is_openapi(document) -> None:
    assert document["openapi"].startswith("3.1.")
    from openapi_spec_validator import validate

    validate(document)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_route_is_described(document, routes) -> None:
    described = {(method, path) for method, path, _ in operations(document)}
    expected = {(route.method, re.sub(r":path}", "}", route.path)) for route in routes}
    assert described == expected
    for method, path, operation in operations(document):
        assert re.fullmatch(r"[A-Z].+[.]", operation["summary"]), path
        [content] = operation["responses"]["200"]["content"].values()
        assert content["schema"], f"{method} {path} says nothing of its answer"
        if method == "POST":
            for name, schema in body(operation).get("schema", {}).get("properties", {}).items():
                assert schema.get("description"), f"{path}: {name}"


class Reads(dict):
    """A JSON object that notes which of its fields are read."""

    def __init__(self, values) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name, default=None):
        self.names.add(name)
        return super().get(name, default)


def names_read(app, route: DescribedRoute) -> set[str]:
    """Return the fields that a handler reads from the example, and from it without each field."""
    example = dict(route.doc.example or {})
    bodies = [example, *({k: v for k, v in example.items() if k != name} for name in example)]
    names = set()
    for body in bodies:
        reads = Reads(body)
        scope = {"type": "http", "method": "POST", "path": route.path, "query_string": b""}
        request = Request({**scope, "app": app})

        async def answer(reads=reads, request=request) -> None:
            await route.handler(Call(app.state.service, Fields(reads), request))

        try:
            asyncio.run(answer())
        except (Problem, JlocalError):
            assert body != example
        names |= reads.names
    return names


def test_the_described_fields_are_those_that_handlers_read(server) -> None:
    del server  # whose collections are also those of the application here
    app = create_app(Service(ServerOptions(("starter",))), logs=False)
    checked = 0
    for route in app.routes:
        if isinstance(route, DescribedRoute) and route.method == "POST":
            assert names_read(app, route) == set(route.doc.fields), route.path
            checked += 1
    asyncio.run(app.state.service.close())
    assert checked


@pytest.mark.slow
def test_every_example_gets_the_answer_that_is_described(document, server) -> None:
    import jsonschema

    for method, path, operation in operations(document):
        if "{" in path:
            continue
        [(media, content)] = operation["responses"]["200"]["content"].items()
        query = {
            parameter["name"]: parameter["example"]
            for parameter in operation.get("parameters", ())
            if "example" in parameter
        }
        answer = httpx.request(
            method, server.url + path, json=body(operation).get("example"), params=query, timeout=60
        )
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["content-type"].startswith(media)
        if media == "application/json":
            jsonschema.validate(answer.json(), content["schema"])


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/models/none"])
def test_errors_have_the_shape_that_is_described(document, server, path) -> None:
    import jsonschema

    answer = httpx.request("POST" if "embeddings" in path else "GET", server.url + path)
    described = document["paths"][re.sub("/none$", "/{model}", path)]
    [operation] = described.values()
    schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
    assert 400 <= answer.status_code < 500
    jsonschema.validate(answer.json(), schema)


def test_the_page_shows_every_route_and_loads_nothing(document, server) -> None:
    answer = httpx.get(f"{server.url}/docs").raise_for_status()
    for _, path, operation in operations(document):
        assert f"<code>{path}</code>" in answer.text
        assert f'id="{operation["operationId"]}"' in answer.text
    assert not re.search(r"<script|<link|<img|@import|url\(|\sstyle=|\son\w+=", answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.slow
def test_names_of_a_document_cannot_break_the_page() -> None:
    from jlocal.server.reference_page import page

    hostile = "</details><script>alert(1)</script>"
    document = {
        "info": {"title": hostile, "version": hostile, "description": hostile},
        "tags": [{"name": "a", "description": hostile}],
        "paths": {
            f"/{hostile}": {
                "post": {
                    "tags": ["a"],
                    "operationId": f'"{hostile}',
                    "summary": hostile,
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "properties": {hostile: {"description": hostile}},
                                    "required": [],
                                },
                                "example": {hostile: hostile},
                            }
                        }
                    },
                    "responses": {"200": {"content": {hostile: {"schema": {"type": hostile}}}}},
                }
            }
        },
    }
    assert "<script" not in page(document, hostile)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not DRIVER, reason="needs Chromium and its driver")
@pytest.mark.parametrize("width", [320, 1000])
def test_the_page_fits_its_window_and_keeps_its_policy(server, tmp_path, width) -> None:
    with browser(tmp_path) as chromium:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        chromium.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chromium.driver.get(f"{server.url}/docs")
        chromium.driver.execute_script(
            "document.querySelectorAll('details').forEach(one => one.open = true)"
        )
        assert chromium.run("document.documentElement.scrollWidth") <= width
        assert chromium.run("getComputedStyle(document.body).maxWidth") == "860px"
        messages = [entry["message"] for entry in chromium.driver.get_log("browser")]
        assert not [message for message in messages if "favicon" not in message]
