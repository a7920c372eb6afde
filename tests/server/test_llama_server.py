"""llama-server's protocol, asked by plain requests."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from jlocal import Embedder
from support.alike import cosines
from support.servers import Running

TEXTS = ["restic runs every night", "é 漢字🦊"]


def post(server: Running, path: str, **body: object) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body)


def test_vectors_are_those_of_the_embedder(server: Running, starter: Embedder) -> None:
    answer = post(server, "/embedding", content=TEXTS, model="starter:document").json()
    assert [item["index"] for item in answer] == [0, 1]
    rows = [row for item in answer for row in item["embedding"]]
    assert cosines(rows, starter.encode_document(TEXTS)).min() > 0.99999
    ((row,),) = (item["embedding"] for item in post(server, "/embedding", content="a").json())
    assert cosines([row], starter.encode(["a"])).min() > 0.99999
    raw = post(server, "/embedding", content="a", embd_normalize=-1).json()[0]["embedding"][0]
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(raw) != pytest.approx(1, abs=1e-2)


def test_tokens_become_the_text_again(server: Running, starter: Embedder) -> None:
    tokens = post(server, "/tokenize", content=TEXTS[1]).json()["tokens"]
    assert post(server, "/detokenize", tokens=tokens).json() == {"content": TEXTS[1]}
    special = post(server, "/tokenize", content=TEXTS[1], add_special=True).json()["tokens"]
    assert special == starter.tokenize(TEXTS[1]).tolist()
    pieces = post(server, "/tokenize", content=TEXTS[0], with_pieces=True).json()["tokens"]
    assert "".join(piece["piece"] for piece in pieces) == TEXTS[0]
    assert post(server, "/detokenize", tokens=[]).json() == {"content": ""}


def test_properties_name_no_path(server: Running, starter: Embedder) -> None:
    answer = httpx.get(f"{server.url}/props")
    assert answer.json()["default_generation_settings"]["n_ctx"] == 4096
    assert answer.json()["model_alias"] == "starter-embedding"
    assert str(starter.profile.path.parent) not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/embedding", {}, "input is missing"),
        ("/embedding", {"content": "a " * 200, "model": "short"}, "the limit is 64"),
        ("/embedding", {"content": "a", "embd_normalize": 7}, "embd_normalize"),
        ("/detokenize", {"tokens": [-1]}, "not below"),
        ("/detokenize", {"tokens": "a"}, "token ids"),
    ],
)
def test_what_is_wrong_is_said(
    server: Running, path: str, body: dict[str, object], message: str
) -> None:
    answer = post(server, path, **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)
    assert message in answer.json()["error"]["message"]
