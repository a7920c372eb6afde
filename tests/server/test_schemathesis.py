"""Requests that schemathesis makes from descriptions: right, wrong, and none with a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from support.servers import running
from support.tei_description import DESCRIPTION

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow

EXAMPLES = 20
# Hypothesis also draws constants of the modules that are loaded: 20 examples may all be refused.
MORE = 200


@pytest.fixture(scope="module")
def url(tmp_path_factory, starter) -> Iterator[str]:
    from jlocal import Collection

    home = tmp_path_factory.mktemp("home")
    (home / "collections").mkdir()
    with Collection(home / "collections" / "notes.db", starter) as collection:
        collection.add(["The ferry leaves at noon.", "The stove burns beech wood."], ["a", "b"])
    with running("-m", "starter", "--token-ids", environment={"JLOCAL_HOME": str(home)}) as server:
        yield server.url


def ask(document: dict[str, Any], url: str, checks: list[Any], *wanted: str) -> None:
    """Make requests to every route; some to each of the `wanted` routes are answered with 200."""
    results = schemathesis.openapi.from_dict(document).get_all_operations()
    operations = {operation.label: operation for operation in (result.ok() for result in results)}
    answered = {name: _ask(found, url, checks, EXAMPLES) for name, found in operations.items()}
    for name in wanted:
        assert answered[name] or _ask(operations[name], url, checks, MORE), name


def _ask(operation: Any, url: str, checks: list[Any], examples: int) -> int:
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query:
        modes.append(GenerationMode.NEGATIVE)
    answered = 0

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
    def one(case) -> None:
        nonlocal answered
        answer = case.call(base_url=url, timeout=30)
        case.validate_response(answer, checks=checks)
        answered += answer.status_code == 200

    one()
    return answered


def test_no_request_from_our_description_makes_the_server_fail(url) -> None:
    document = httpx.get(f"{url}/openapi.json").json()
    checks = [not_a_server_error, response_schema_conformance]
    ask(document, url, checks, "POST /v1/embeddings", "POST /search")


def test_no_request_from_the_description_of_text_embeddings_inference_does(url) -> None:
    served = httpx.get(f"{url}/openapi.json").json()["paths"]
    document = {
        **DESCRIPTION,
        "paths": {p: m for p, m in DESCRIPTION["paths"].items() if p in served},
    }
    ask(document, url, [not_a_server_error, response_schema_conformance], "GET /health")
