"""ollama's protocol, asked by ollama's own client and by langchain-ollama."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from jlocal import Embedder
from support.alike import cosines
from support.servers import Running

if TYPE_CHECKING:
    import ollama
    from langchain_ollama import OllamaEmbeddings

TEXTS = ["restic runs every night", "two mirrored disks", "é 漢字"]
LONG = "word " * 100


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[ollama.Client]:
    import ollama

    client = ollama.Client(server.url)
    yield client
    client._client.close()


@pytest.mark.parametrize("model", ["starter", "starter:latest", "starter-embedding:document"])
def test_vectors_are_those_of_the_embedder(
    client: ollama.Client, starter: Embedder, model: str
) -> None:
    answer = client.embed(model, TEXTS, options={"num_ctx": 512}, keep_alive="5m")
    assert answer.model == model
    assert cosines(answer.embeddings, starter.encode_document(TEXTS)).min() > 0.99999
    assert answer.prompt_eval_count == sum(
        len(starter.tokenize(text, starter.prompts["document"])) for text in TEXTS
    )
    assert answer.total_duration > answer.load_duration >= 0


def test_the_older_route_gives_one_vector(client: ollama.Client, starter: Embedder) -> None:
    answer = client.embeddings("starter:query", "backups")
    assert cosines([answer.embedding], starter.encode_query(["backups"])).min() > 0.99999
    assert client.embeddings("starter", "").embedding == []


def test_dimensions_are_kept(client: ollama.Client, starter: Embedder) -> None:
    (row,) = client.embed("starter", "backups", dimensions=64).embeddings
    assert cosines([row], starter.encode(["backups"], truncate_dim=64)).min() > 0.99999


def test_options_full_of_nulls_are_taken(server: Running) -> None:
    body = {
        "model": "starter",
        "input": ["a"],
        "options": {"num_ctx": None, "temperature": None},
        "keep_alive": None,
        "truncate": None,
        "dimensions": None,
    }
    answer = httpx.post(f"{server.url}/api/embed", json=body)
    assert len(answer.json()["embeddings"]) == 1


@pytest.mark.parametrize("empty", [{}, {"input": None}, {"input": []}])
def test_no_input_gives_no_vectors(server: Running, empty: dict[str, object]) -> None:
    answer = httpx.post(f"{server.url}/api/embed", json={"model": "starter", **empty})
    assert (answer.status_code, answer.json()["embeddings"]) == (200, [])


def test_a_truncated_text_is_counted(server: Running) -> None:
    body = {"model": "short", "input": [LONG, "short", LONG]}
    answer = httpx.post(f"{server.url}/api/embed", json=body)
    assert answer.headers["x-truncated-inputs"] == "2"
    assert answer.json()["prompt_eval_count"] > 2 * 64


def test_the_older_route_truncates_too(server: Running) -> None:
    body = {"model": "short", "prompt": LONG}
    answer = httpx.post(f"{server.url}/api/embeddings", json=body)
    assert answer.headers["x-truncated-inputs"] == "1"
    assert len(answer.json()["embedding"]) == 256


def test_a_long_text_is_an_error_where_truncation_is_off(client: ollama.Client) -> None:
    import ollama

    with pytest.raises(ollama.ResponseError, match="104 tokens") as caught:
        client.embed("short", LONG, truncate=False)
    assert caught.value.status_code == 400


def test_an_unknown_model_is_not_found(client: ollama.Client) -> None:
    import ollama

    with pytest.raises(ollama.ResponseError, match="no model 'llama3'") as caught:
        client.embed("llama3:latest", "a")
    assert caught.value.status_code == 404


def test_models_are_listed_and_described(client: ollama.Client, starter: Embedder) -> None:
    models = client.list().models
    assert [model.model for model in models] == [
        f"{name}-embedding{tag}"
        for name in ("starter", "short")
        for tag in (":latest", ":query", ":document")
    ]
    assert models[0].size == starter.profile.path.stat().st_size
    assert models[0].details.format == "gguf"
    shown = client.show("starter:latest")
    assert shown.capabilities == ["embedding"]
    architecture = shown.modelinfo["general.architecture"]
    assert shown.modelinfo[f"{architecture}.embedding_length"] == 256
    assert shown.modelinfo[f"{architecture}.context_length"] == 4096
    assert str(starter.profile.path.parent) not in shown.model_dump_json()


def test_loaded_models_are_listed(client: ollama.Client) -> None:
    client.embed("starter", "a")
    assert "starter-embedding:latest" in [model.model for model in client.ps().models]


def test_the_version_is_a_release_that_has_these_routes(server: Running) -> None:
    number = httpx.get(f"{server.url}/api/version").json()["version"]
    assert tuple(map(int, number.split("."))) >= (0, 33)


@pytest.mark.slow
def test_langchain_ollama(server: Running, starter: Embedder) -> None:
    with langchain(server, "document") as model:
        documents = model.embed_documents(TEXTS)
    with langchain(server, "query") as model:
        query = model.embed_query("backups")
    assert cosines(documents, starter.encode_document(TEXTS)).min() > 0.99999
    assert cosines([query], starter.encode_query(["backups"])).min() > 0.99999


@contextmanager
def langchain(server: Running, side: str) -> Iterator[OllamaEmbeddings]:
    from langchain_ollama import OllamaEmbeddings

    model = OllamaEmbeddings(
        model=f"starter-embedding:{side}", base_url=server.url, validate_model_on_init=True
    )
    yield model
    model._client._client.close()
