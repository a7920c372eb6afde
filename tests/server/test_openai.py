"""OpenAI's protocol, with Jina's fields, asked by OpenAI's own client and by plain requests."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from jlocal import Embedder
from jlocal.server.options import ServerOptions
from support.alike import cosines
from support.servers import Running, served

if TYPE_CHECKING:
    import openai

TEXTS = ["restic runs every night", "two mirrored disks", "restic runs every night", "é 漢字"]


@pytest.fixture(scope="module")
def client(server: Running) -> openai.OpenAI:
    import openai

    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_vectors_are_those_of_the_embedder(
    client: openai.OpenAI, starter: Embedder, form: str | None
) -> None:
    given = {} if form is None else {"encoding_format": form}
    answer = client.embeddings.create(model="starter:document", input=TEXTS, **given)
    rows = [item.embedding for item in answer.data]
    if form == "base64":
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    assert [item.index for item in answer.data] == [*range(len(TEXTS))]
    assert cosines(np.array(rows), starter.encode_document(TEXTS)).min() > 0.99999
    assert answer.usage.prompt_tokens == sum(
        len(starter.tokenize(text, starter.prompts["document"])) for text in TEXTS
    )


def test_a_side_in_the_name_gets_its_prompt(client: openai.OpenAI, starter: Embedder) -> None:
    row = client.embeddings.create(model="starter:query", input="backups").data[0].embedding
    assert cosines([row], starter.encode_query(["backups"])).min() > 0.99999


def test_dimensions_are_truncated_before_they_are_normalised(
    client: openai.OpenAI, starter: Embedder
) -> None:
    row = client.embeddings.create(model="starter", input="backups", dimensions=64).data[0]
    assert cosines([row.embedding], starter.encode(["backups"], truncate_dim=64)).min() > 0.99999
    assert np.linalg.norm(row.embedding) == pytest.approx(1, abs=1e-6)


def test_an_alias_is_a_model(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input="backups")
    assert answer.model == "text-embedding-3-small"


def test_models_are_listed_with_their_sides(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [
        f"{name}-embedding{side}"
        for name in ("starter", "short")
        for side in ("", ":query", ":document")
    ]
    assert client.models.retrieve("starter").owned_by == "jlocal"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "gpt"}, "starter-embedding"),
        ({"input": []}, "at least one text"),
        ({"input": ""}, None),
        ({"input": [[1, 2]]}, "check_embedding_ctx_length"),
        ({"input": ["a", 1]}, "list of texts"),
        ({"encoding_format": "hex"}, "choose one of"),
        ({"dimensions": 0}, "from 1 to 256"),
        ({"dimensions": 257}, "from 1 to 256"),
        ({"input": "word " * 5000}, "5,004 tokens, and the limit is 4,096"),
        ({"input": ["a"] * 2049}, "2,049 inputs"),
        ({"task": "text-matching"}, "no model for text-matching"),
    ],
)
def test_what_is_wrong_is_said(
    server: Running, fields: dict[str, object], error: str | None
) -> None:
    body = {"model": "starter", "input": "a", **fields}
    answer = httpx.post(f"{server.url}/v1/embeddings", json=body)
    if error is None:
        assert answer.status_code == 200
        return
    assert answer.status_code in (400, 404)
    assert error in answer.json()["error"]["message"]


def test_a_long_text_is_truncated_where_that_is_asked(server: Running) -> None:
    body = {"model": "starter", "input": ["word " * 5000, "short"], "truncate": True}
    answer = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["x-truncated-inputs"] == "1"
    assert len(answer.json()["data"]) == 2


def test_jinas_fields_are_known(server: Running, starter: Embedder) -> None:
    body = {
        "model": "starter",
        "input": [{"text": "backups"}],
        "task": "retrieval.query",
        "embedding_type": "ubinary",
    }
    row = httpx.post(f"{server.url}/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert row == starter.encode_query("backups", precision="ubinary").tolist()


@pytest.mark.slow
def test_token_ids_are_taken_where_that_is_allowed(starter: Embedder) -> None:
    ids = starter.tokenize("backups run at night", starter.prompts["document"]).tolist()
    with served(ServerOptions(models=("starter",), port=0, takes_token_ids=True)) as url:

        def ask(value: object) -> httpx.Response:
            return httpx.post(f"{url}/v1/embeddings", json={"model": "starter", "input": value})

        for value in (ids, [ids]):
            row = ask(value).json()["data"][0]["embedding"]
            assert cosines([row], starter.encode_document(["backups run at night"])).min() > 0.99999
        for bad in ([[-1]], [[1 << 30]], [[1 << 63]], [ids, [0, 1 << 40]]):
            assert ask(bad).status_code == 400
        assert "input 1 has the token id" in ask([ids, [1 << 30]]).json()["error"]["message"]
