"""txtai: data are documents, searches are queries, and an index is loaded again."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal import ArgumentError, Embedder, ModelError, TextError, TruncationWarning
from support.alike import assert_alike

pytest.importorskip("txtai")

from txtai import Embeddings

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow

METHOD = "jlocal.integrations.txtai.JlocalVectors"


def test_vectors_are_those_of_the_embedder(starter: Embedder, texts: list[str]) -> None:
    for options in ({"vectors": {"truncate_dim": 64}}, {"dimensionality": 64}):
        embeddings = Embeddings(method=METHOD, path="starter", **options)
        documents = starter.encode_document(texts, truncate_dim=64)
        assert_alike(embeddings.batchtransform(texts, "data"), documents)
        queries = starter.encode_query(texts, truncate_dim=64)
        assert_alike(embeddings.batchtransform(texts, "query"), queries)
        assert_alike(embeddings.batchtransform(texts), queries)


def test_an_index_is_saved_and_loaded(
    tmp_path: Path, starter: Embedder, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = Embeddings(method=METHOD, content=True)
    embeddings.index(texts)
    embeddings.save(str(tmp_path / "index"))
    monkeypatch.setenv("JLOCAL_MODEL", "no-such.gguf")
    loaded = Embeddings()
    loaded.load(str(tmp_path / "index"))
    assert loaded.config["path"] == "starter"
    (found,) = loaded.search("who chases mice?", 1)
    cosine = starter.encode_query("who chases mice?") @ starter.encode_document(texts[2])
    assert (found["text"], found["score"]) == (texts[2], pytest.approx(cosine, abs=1e-3))


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ModelError, match="no-such"):
        Embeddings(method=METHOD, path="no-such").index(["a"])
    with pytest.raises(ArgumentError, match="999"):
        Embeddings(method=METHOD, path="starter", vectors={"truncate_dim": 999}).index(["a"])
    embeddings = Embeddings(method=METHOD, path="starter")
    with pytest.raises(TextError, match="int"):
        embeddings.index(["a", 3])
    with pytest.raises(TextError, match="9,004 tokens"):
        embeddings.index(["a " * 9000])
    cutting = Embeddings(method=METHOD, path="starter", vectors={"on_long": "truncate"})
    with pytest.warns(TruncationWarning, match="9,004"):
        cutting.index(["a " * 9000])
    assert cutting.count() == 1
