"""text-embeddings-inference's protocol, asked by plain requests and by clients made for it."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from jlocal import Embedder
from jlocal.embed.options import ComputeOptions
from jlocal.llama.library import api, device_for
from jlocal.llama.planning import token_budget
from jlocal.server.options import ServerOptions
from support.alike import cosines
from support.servers import Running, running, served

TEXTS = ["restic runs every night", "two mirrored disks", "é 漢字"]
LONG = "word " * 100


def post(server: Running, path: str, **body: object) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body)


@pytest.mark.parametrize("path", ["/embed", "/invocations", "/"])
def test_vectors_are_those_of_the_embedder(server: Running, starter: Embedder, path: str) -> None:
    rows = post(server, path, inputs=TEXTS).json()
    assert cosines(rows, starter.encode(TEXTS)).min() > 0.99999
    (row,) = post(server, path, inputs=TEXTS[0], prompt_name="query").json()
    assert cosines([row], starter.encode_query(TEXTS[:1])).min() > 0.99999


def test_the_url_may_name_a_model_and_a_side(server: Running, starter: Embedder) -> None:
    rows = post(server, "/embed?model=starter:query", inputs=TEXTS).json()
    assert cosines(rows, starter.encode_query(TEXTS)).min() > 0.99999


def test_vectors_can_be_as_pooled_and_shorter(server: Running, starter: Embedder) -> None:
    raw = np.array(post(server, "/embed", inputs=TEXTS, normalize=False).json())
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1)
    assert cosines(raw, starter.encode(TEXTS)).min() > 0.99999
    short = post(server, "/embed", inputs=TEXTS, dimensions=64).json()
    assert cosines(short, starter.encode(TEXTS, truncate_dim=64)).min() > 0.99999


def test_headers_say_what_was_computed(server: Running, starter: Embedder) -> None:
    headers = post(server, "/embed", inputs=TEXTS).headers
    assert headers["x-compute-type"] in ("cpu", "gpu")
    assert int(headers["x-compute-characters"]) == sum(map(len, TEXTS))
    prompt = starter.prompt_text(None, None)
    assert int(headers["x-compute-tokens"]) == sum(
        len(starter.tokenize(text, prompt)) for text in TEXTS
    )
    names = ("tokenization", "queue", "inference")
    parts = [int(headers[f"x-{name}-time"]) for name in names]
    assert 0 <= sum(parts) <= int(headers["x-total-time"])
    assert headers["x-compute-time"] == headers["x-total-time"]


def test_similarities_are_cosines(server: Running, starter: Embedder) -> None:
    inputs = {"source_sentence": "backups", "sentences": TEXTS}
    answer = post(server, "/similarity", inputs=inputs, parameters={"prompt_name": "query"})
    expected = starter.encode_query(TEXTS) @ starter.encode_query("backups")
    assert answer.json() == pytest.approx(expected.tolist(), abs=1e-4)
    assert int(answer.headers["x-compute-characters"]) == len("backups") + sum(map(len, TEXTS))


def test_tokens_have_places_and_become_the_text_again(server: Running, starter: Embedder) -> None:
    text = "restic runs at 3 é漢字🦊"
    (tokens,) = post(server, "/tokenize", inputs=text).json()
    ids = [token["id"] for token in tokens]
    assert ids == starter.tokenize(text).tolist()
    for token in tokens:
        if not token["special"]:
            assert token["text"] == text[token["start"] : token["stop"]]
        else:
            assert token["start"] is token["stop"] is None
    assert post(server, "/decode", ids=ids).json() == [text]
    assert post(server, "/decode", ids=[ids, ids[:1]]).json()[1] == tokens[0]["text"]
    bare = post(server, "/tokenize", inputs=[text, ""], add_special_tokens=False).json()
    assert not any(token["special"] for token in bare[0])
    assert bare[1] == []
    (prompted,) = post(server, "/tokenize", inputs=text, prompt_name="query").json()
    assert [token["id"] for token in prompted] == starter.tokenize(
        text, starter.prompts["query"]
    ).tolist()


def test_the_limits_are_told(server: Running) -> None:
    info = httpx.get(f"{server.url}/info").json()
    assert info["model_type"] == {"embedding": {"pooling": "last_token"}}
    assert (info["max_client_batch_size"], info["auto_truncate"]) == (2048, False)
    assert (info["model_id"], info["max_input_length"]) == ("starter-embedding", 4096)
    assert httpx.get(f"{server.url}/info?model=short").json()["max_input_length"] == 64
    assert info["max_batch_tokens"] == token_budget(device_for(None))


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(("layers", "budget"), [(None, 2048), (0, 512)])
def test_the_budget_of_a_batch_is_told(
    monkeypatch: pytest.MonkeyPatch, layers: int | None, budget: int, is_lazy: bool
) -> None:
    """It is that of the device on which the model computes, or will compute."""
    monkeypatch.setattr(api, "llama_supports_gpu_offload", lambda: True)
    compute = ComputeOptions(gpu_layers=layers)
    with served(ServerOptions(("starter",), port=0, is_lazy=is_lazy, compute=compute)) as url:
        info = httpx.get(f"{url}/info").json()
    assert (info["max_batch_tokens"], info["max_batch_requests"]) == (budget, 64)


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("/embed", {"inputs": []}, 400, "Empty", "empty"),
        ("/embed", {}, 422, "Validation", "inputs is missing"),
        ("/embed", {"inputs": ["a", 1]}, 422, "Validation", "list of texts"),
        ("/embed", {"inputs": [[1, 2]]}, 422, "Validation", "--token-ids"),
        ("/embed", {"inputs": ["a"] * 2049}, 422, "Validation", "batch size 2049 > maximum"),
        ("/embed?model=short", {"inputs": ["a", LONG]}, 422, "Validation", "less than 64 tokens"),
        ("/embed", {"inputs": "a", "prompt_name": "x"}, 422, "Validation", "no prompt 'x'"),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Validation", "left"),
        ("/", {"inputs": "a", "normalize": 1}, 422, "Validation", "true or false"),
        ("/decode", {"ids": []}, 400, "Empty", "empty"),
        ("/decode", {"ids": [1 << 40]}, 422, "Validation", "not below"),
        ("/decode", {"ids": ["a"]}, 422, "Validation", "token ids"),
        ("/similarity", {"inputs": {}}, 422, "Validation", "source_sentence"),
        (
            "/similarity",
            {"inputs": {"source_sentence": "a", "sentences": []}},
            400,
            "Empty",
            "cannot be empty",
        ),
        ("/embed_all", {"inputs": "a"}, 424, "Backend", "one vector for a text"),
        ("/embed_sparse", {"inputs": "a"}, 424, "Backend", "SPLADE"),
        ("/rerank", {"query": "a", "texts": ["a"]}, 424, "Backend", "not a re-ranker"),
        ("/predict", {"inputs": "a"}, 424, "Backend", "not a classifier"),
    ],
)
def test_what_is_wrong_is_said_as_its_router_says_it(
    server: Running, path: str, body: dict[str, object], status: int, kind: str, message: str
) -> None:
    answer = post(server, path, **body)
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)
    assert message in answer.json()["error"]


@pytest.mark.parametrize("direction", ["left", "Right"])
def test_a_text_is_truncated_only_where_that_is_asked(server: Running, direction: str) -> None:
    body = {"inputs": [LONG, "a"], "truncate": True, "truncation_direction": direction}
    answer = post(server, "/embed?model=short", **body)
    assert answer.headers["x-truncated-inputs"] == "1"
    assert len(answer.json()) == 2


@pytest.mark.slow
def test_its_root_needs_the_key() -> None:
    """The page at the same path does not."""
    with running("-m", "starter", "--lazy", "--api-key", "secret") as server:
        assert post(server, "/", inputs="a").status_code == 401
        headers = {"authorization": "Bearer secret"}
        answer = httpx.post(server.url, json={"inputs": "a"}, headers=headers, timeout=60)
        assert answer.status_code == 200


@pytest.mark.parametrize("side", ["query", "document"])
def test_the_client_of_the_hub(server: Running, starter: Embedder, side: str) -> None:
    from huggingface_hub import InferenceClient

    client = InferenceClient(f"{server.url}/embed?model=starter:{side}")
    rows = client.feature_extraction(TEXTS)
    assert rows.shape == (3, 256)
    assert cosines(rows, starter.encode(TEXTS, prompt_name=side)).min() > 0.99999


@pytest.mark.slow
def test_chroma(server: Running, starter: Embedder) -> None:
    from chromadb.utils.embedding_functions import HuggingFaceEmbeddingServer

    function = HuggingFaceEmbeddingServer(url=f"{server.url}/embed?model=starter:document")
    assert cosines(function(TEXTS), starter.encode_document(TEXTS)).min() > 0.99999
    function._session.close()
