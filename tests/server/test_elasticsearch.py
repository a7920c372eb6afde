"""Elasticsearch's inference services: bodies as its source sends them, answers as it parses them.

x-pack/plugin/inference/src/main/java/org/elasticsearch/xpack/inference/services: `openai`,
`hugging_face` and `custom`.
"""

from __future__ import annotations

import base64
import json
from string import Template
from typing import Any

import httpx
import numpy as np
import pytest

from jlocal import Embedder
from support.alike import cosines
from support.pages import code, for_server
from support.servers import Running

TEXTS = ["restic runs every night", "two mirrored disks", "é 漢字"]
LONG = "word " * 100
# On these Elasticsearch cuts every text of a request by half, and sends them again.
HALVES = "Please reduce your prompt"


def endpoint(number: int, server: Running) -> dict[str, Any]:
    """Return the body of an endpoint that docs/serve-elasticsearch.md shows, for this server."""
    return json.loads(for_server(code("serve-elasticsearch.md", "json")[number], server.url))


def ask(settings: dict[str, Any], body: dict[str, Any]) -> Any:
    answer = httpx.post(settings["url"], json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(("number", "side"), [(0, "document"), (1, "query")])
def test_openai(server: Running, starter: Embedder, number: int, side: str) -> None:
    settings = endpoint(number, server)["service_settings"]
    body = {"input": TEXTS, "model": settings["model_id"], "encoding_format": "base64"}
    data = ask(settings, body)["data"]
    rows = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data]
    assert cosines(rows, starter.encode(TEXTS, prompt_name=side)).min() > 0.99999
    # dot_product is its default similarity for this service, and needs unit vectors.
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    floats = ask(settings, {key: body[key] for key in ("input", "model")})["data"]
    assert cosines(rows, [item["embedding"] for item in floats]).min() > 0.99999


def test_hugging_face(server: Running, starter: Embedder) -> None:
    settings = endpoint(3, server)["service_settings"]
    rows = ask(settings, {"inputs": TEXTS})
    assert cosines(rows, starter.encode_document(TEXTS)).min() > 0.99999


@pytest.mark.parametrize(("kind", "side"), [("ingest", "document"), ("search", "query")])
def test_custom(server: Running, starter: Embedder, kind: str, side: str) -> None:
    settings = endpoint(4, server)["service_settings"]
    input_type = settings["input_type"]["translation"][kind]
    request = Template(settings["request"]).substitute(
        input=json.dumps(TEXTS), input_type=json.dumps(input_type)
    )
    answer = ask(settings, json.loads(request))
    assert settings["response"]["json_parser"]["text_embeddings"] == "$.data[*].embedding[*]"
    rows = [item["embedding"] for item in answer["data"]]
    assert cosines(rows, starter.encode(TEXTS, prompt_name=side)).min() > 0.99999


def test_the_mapping_names_both_endpoints() -> None:
    mapping = json.loads(code("serve-elasticsearch.md", "json")[2])
    field = mapping["mappings"]["properties"]["text"]
    assert field["type"] == "semantic_text"
    assert field["inference_id"] != field["search_inference_id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "short", "input": [LONG]}),
        ("/v1/embeddings", {"input": ["a"] * 2049}),
        ("/v1/embeddings", {"input": "a" * (33 << 20)}),
        ("/embed?model=short", {"inputs": [LONG]}),
        ("/embed", {"inputs": ["a"] * 2049}),
        ("/embed", {"inputs": "a" * (33 << 20)}),
    ],
    ids=["long", "many", "large", "long-tei", "many-tei", "large-tei"],
)
def test_no_error_makes_it_halve_texts(server: Running, path: str, body: dict[str, object]) -> None:
    try:
        answer = httpx.post(f"{server.url}{path}", json=body)
    except (httpx.WriteError, httpx.ReadError):
        # The server answers before the whole body is sent, and closes.
        assert len(str(body)) > 32 << 20
        return
    assert answer.status_code in (400, 422)
    assert HALVES not in answer.text
