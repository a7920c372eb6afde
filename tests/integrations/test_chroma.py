"""Chroma: queries and documents have their prompts, and a collection on disk is opened again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jlocal import Embedder
from support.alike import assert_alike

chromadb = pytest.importorskip("chromadb")

from jlocal.integrations.chroma import JlocalEmbeddingFunction  # noqa: E402

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow


def test_vectors_are_those_of_the_embedder(starter: Embedder, texts: list[str]) -> None:
    function = JlocalEmbeddingFunction("starter", truncate_dim=64)
    for same in (function, JlocalEmbeddingFunction.build_from_config(function.get_config())):
        assert_alike(same(texts), starter.encode_document(texts, truncate_dim=64))
        assert_alike(same.embed_query(texts), starter.encode_query(texts, truncate_dim=64))
    assert not function.is_legacy()


def test_a_collection_is_opened_again_in_another_process(
    tmp_path: Path, starter: Embedder, texts: list[str]
) -> None:
    ids = ["backup", "meeting", "cats"]
    client = chromadb.PersistentClient(tmp_path)
    made = client.create_collection(
        "notes", embedding_function=JlocalEmbeddingFunction("starter", truncate_dim=64)
    )
    made.add(ids=ids, documents=texts)
    assert made.query(query_texts=["who chases mice?"], n_results=1)["ids"] == [["cats"]]
    code = (
        "import json, sys, chromadb, jlocal.integrations.chroma\n"
        "notes = chromadb.PersistentClient(sys.argv[1]).get_collection('notes')\n"
        "found = notes.query(query_texts=['who meets?'], n_results=3)\n"
        "print(json.dumps([found['ids'][0], found['distances'][0]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert not done.returncode, done.stderr
    found = dict(zip(*json.loads(done.stdout), strict=True))
    with starter.truncate_embeddings(64):
        vectors = starter.encode_query("who meets?"), starter.encode_document(texts)
        cosines = starter.similarity(*vectors)[0]
    expected = dict(zip(ids, (1 - cosines).tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_length_of_stored_vectors_cannot_be_changed() -> None:
    function = JlocalEmbeddingFunction("starter")
    function.validate_config_update({"model": "a.gguf"}, {"model": "b.gguf"})
    with pytest.raises(ValueError, match="truncate_dim"):
        function.validate_config_update({"model": "a"}, {"model": "a", "truncate_dim": 64})
