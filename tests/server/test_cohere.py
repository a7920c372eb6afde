"""Cohere's protocol, asked by Cohere's own client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import cohere
import httpx
import numpy as np
import pytest

from jlocal import Embedder
from support.alike import cosines
from support.servers import Running

TEXTS = ["restic runs every night", "two mirrored disks", "é 漢字"]
LONG = "word " * 100


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[cohere.ClientV2]:
    with httpx.Client() as connection:
        yield cohere.ClientV2(
            api_key="none", base_url=server.url, httpx_client=connection, max_retries=0
        )


@pytest.mark.parametrize("side", ["query", "document"])
def test_the_input_type_chooses_the_prompt(
    client: cohere.ClientV2, starter: Embedder, side: str
) -> None:
    answer = client.embed(
        model="starter",
        texts=TEXTS,
        input_type=f"search_{side}",
        embedding_types=["float", "base64"],
    )
    expected = starter.encode(TEXTS, prompt_name=side)
    rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in answer.embeddings.base64]
    assert cosines(answer.embeddings.float_, expected).min() > 0.99999
    assert np.array_equal(np.array(rows), np.array(answer.embeddings.float_, np.float32))
    assert answer.texts == TEXTS
    assert answer.meta.tokens.input_tokens == sum(
        len(starter.tokenize(text, starter.prompts[side])) for text in TEXTS
    )


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_embedding_types_are_those_of_the_embedder(
    client: cohere.ClientV2, starter: Embedder, precision: str
) -> None:
    answer = client.embed(
        model="starter",
        texts=TEXTS,
        input_type="search_document",
        embedding_types=[precision],
        output_dimension=128,
    )
    rows = np.array(getattr(answer.embeddings, precision))
    expected = starter.encode_document(TEXTS, precision=precision, truncate_dim=128)
    assert rows.shape == expected.shape
    # The last bit of a float depends on the batch.
    assert np.mean(rows != expected) < 0.02
    assert answer.embeddings.float_ is None


def test_inputs_of_content_are_texts(client: cohere.ClientV2, starter: Embedder) -> None:
    inputs = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
    answer = client.embed(model="starter", inputs=inputs, input_type="search_document")
    assert cosines(answer.embeddings.float_, starter.encode_document(TEXTS)).min() > 0.99999


@pytest.mark.parametrize("truncate", [None, "START"])
def test_a_truncated_text_is_counted(
    client: cohere.ClientV2, starter: Embedder, short: Path, truncate: str | None
) -> None:
    text = f"alpha {LONG}omega"
    answer = client.with_raw_response.embed(
        model="short",
        texts=[text, "a"],
        input_type="search_document",
        **({} if truncate is None else {"truncate": truncate}),
    )
    assert answer.headers["x-truncated-inputs"] == "1"
    assert answer.data.meta.warnings == ["1 texts were truncated to 64 tokens"]
    with Embedder(short) as embedder:
        prepared = embedder.preparer(
            starter.prompts["document"], "left" if truncate == "START" else "right"
        )
        tokens, _ = prepared.fit(0, prepared.tokens(0, text))
        expected = prepared.runtime.scheduler.submit_group([tokens]).result()[0]
    assert cosines([answer.data.embeddings.float_[0]], [expected]).min() > 0.99999


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model": "short", "truncate": "NONE", "texts": [LONG]},
            "104 tokens, and the limit",
        ),
        ({"texts": []}, "at least one"),
        ({"input_type": "image"}, "search_query"),
        ({"input_type": "classification"}, "no model for classification"),
        ({"embedding_types": ["float64"]}, "ubinary"),
        ({"output_dimension": 257}, "from 1 to 256"),
        ({"images": ["data:"]}, "images is not known"),
        ({"max_tokens": 5}, "max_tokens is not known"),
    ],
)
def test_what_is_wrong_is_said(
    client: cohere.ClientV2, fields: dict[str, object], message: str
) -> None:
    given = {"model": "starter", "texts": ["a"], "input_type": "search_query", **fields}
    with pytest.raises(cohere.BadRequestError) as caught:
        client.embed(**given)
    assert message in caught.value.body["message"]


def test_an_unknown_model_is_not_found(client: cohere.ClientV2) -> None:
    with pytest.raises(cohere.NotFoundError, match="starter-embedding"):
        client.embed(model="embed-v4.0", texts=["a"], input_type="search_query")
