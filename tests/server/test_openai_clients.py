"""OpenAI's protocol, asked by the libraries that people use for it."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from jlocal import Embedder
from support.alike import cosines
from support.pages import code, for_server
from support.servers import Running

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow

TEXTS = ["restic runs every night", "two mirrored disks", "é 漢字"]


@pytest.fixture
def connection() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as connection:
        yield connection


def test_langchain(server: Running, starter: Embedder, connection: httpx.Client) -> None:
    def embeddings(side: str) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(
            model=f"starter:{side}",
            base_url=f"{server.url}/v1",
            api_key="none",
            check_embedding_ctx_length=False,
            http_client=connection,
        )

    documents = embeddings("document").embed_documents(TEXTS)
    assert cosines(documents, starter.encode_document(TEXTS)).min() > 0.99999
    query = embeddings("query").embed_query("backups")
    assert cosines([query], starter.encode_query(["backups"])).min() > 0.99999


def test_langchain_that_sends_token_ids_is_told_its_flag(
    server: Running, connection: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it sends ids of OpenAI's tokenizer, for which it needs a network."""

    class Encoding:
        def encode_ordinary(self, text: str) -> list[int]:
            return [*text.encode()]

        def encode(self, text: str, **_: object) -> list[int]:
            return [*text.encode()]

    monkeypatch.setattr("tiktoken.encoding_for_model", lambda _: Encoding())
    embeddings = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=f"{server.url}/v1",
        api_key="none",
        http_client=connection,
        max_retries=0,
    )
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length is False"):
        embeddings.embed_documents(TEXTS)


def test_llama_index(server: Running, starter: Embedder, connection: httpx.Client) -> None:
    def embeddings(side: str) -> OpenAILikeEmbedding:
        return OpenAILikeEmbedding(
            model_name=f"starter:{side}",
            api_base=f"{server.url}/v1",
            api_key="none",
            http_client=connection,
        )

    documents = embeddings("document").get_text_embedding_batch(TEXTS)
    assert cosines(documents, starter.encode_document(TEXTS)).min() > 0.99999
    query = embeddings("query").get_query_embedding("backups")
    assert cosines([query], starter.encode_query(["backups"])).min() > 0.99999


def test_haystack(server: Running, starter: Embedder) -> None:
    options = {"api_base_url": f"{server.url}/v1", "api_key": Secret.from_token("none")}
    documents = OpenAIDocumentEmbedder(model="starter:document", progress_bar=False, **options)
    embedded = documents.run([Document(content=text) for text in TEXTS])["documents"]
    documents.close()
    rows = [document.embedding for document in embedded]
    assert cosines(rows, starter.encode_document(TEXTS)).min() > 0.99999
    queries = OpenAITextEmbedder(model="starter:query", **options)
    query = queries.run("backups")["embedding"]
    queries.close()
    assert cosines([query], starter.encode_query(["backups"])).min() > 0.99999


EXAMPLES = code("serve.md", "python")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda block: block.split()[1])
def test_the_examples_of_the_page_give_the_vectors_of_the_embedder(
    server: Running, starter: Embedder, example: str
) -> None:
    names = {"texts": TEXTS, "question": "backups"}
    with warnings.catch_warnings():
        # The examples close no connection.
        warnings.simplefilter("ignore", ResourceWarning)
        exec(compile(for_server(example, server.url), "serve.md", "exec"), names)
        documents, query = names["documents"], names["query"]
        names.clear()
        gc.collect()
    assert cosines(documents, starter.encode_document(TEXTS)).min() > 0.99999
    assert cosines([query], starter.encode_query(["backups"])).min() > 0.99999


def npm() -> str:
    """Return npm; skip the test where it cannot install the packages."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    return shutil.which("npm") or ""


def test_javascript(server: Running, starter: Embedder, tmp_path: Path) -> None:
    """`openai` asks for base64 unless it is told otherwise; the AI SDK asks for floats."""
    for file in (Path(__file__).parent / "javascript").iterdir():
        shutil.copy(file, tmp_path)
    command = [npm(), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    installed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if installed.returncode and "network" in installed.stderr.casefold():
        pytest.skip("npm cannot reach its registry")
    assert installed.returncode == 0, installed.stderr
    program = ["node", "embed.js", f"{server.url}/v1", "starter:document", *TEXTS]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    vectors = json.loads(done.stdout)
    expected = starter.encode_document(TEXTS)
    for name in ("base64", "floats", "ai"):
        assert cosines(vectors[name], expected).min() > 0.99999, name
    # The last bit of a float depends on the batch.
    assert np.allclose(vectors["base64"], vectors["floats"], atol=1e-6)
