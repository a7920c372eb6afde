"""LangChain's own tests pass; the retriever finds by words and meaning."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from jlocal import ArgumentError, Collection, Embedder, ModelError
from support.alike import assert_alike

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from jlocal.integrations.langchain import JlocalEmbeddings, JlocalRetriever

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow


class _Ours:
    embeddings_class = JlocalEmbeddings
    embedding_model_params = {"model": "starter", "truncate_dim": 128}  # noqa: RUF012


class TestUnit(_Ours, EmbeddingsUnitTests):
    pass


class TestIntegration(_Ours, EmbeddingsIntegrationTests):
    pass


def test_vectors_are_those_of_the_embedder(starter: Embedder, texts: list[str]) -> None:
    model = JlocalEmbeddings("starter", truncate_dim=64)
    for same in (model, pickle.loads(pickle.dumps(model))):
        assert_alike(same.embed_query(texts[0]), starter.encode_query(texts[0], truncate_dim=64))
        assert_alike(same.embed_documents(texts), starter.encode_document(texts, truncate_dim=64))
    assert model.embed_documents([]) == []


def test_wrong_arguments_fail_when_it_is_made() -> None:
    with pytest.raises(ModelError, match="no-such"):
        JlocalEmbeddings("no-such.gguf")
    with pytest.raises(ArgumentError, match="999"):
        JlocalEmbeddings("starter", truncate_dim=999)


def test_an_argument_that_the_retriever_lacks_is_named(notes: Collection) -> None:
    with pytest.raises(ValueError, match="search_kwargs"):
        JlocalRetriever(collection=notes, search_kwargs={"k": 1})


def test_a_store_finds_with_it(texts: list[str]) -> None:
    store = InMemoryVectorStore.from_texts(texts, JlocalEmbeddings("starter"))
    assert store.similarity_search("who chases mice?", k=1)[0].page_content == texts[2]
    found = asyncio.run(store.asimilarity_search("how is data kept safe?", k=1))
    assert found[0].page_content == texts[0]


def test_the_retriever_returns_hits_with_their_metadata(notes: Collection) -> None:
    retriever = JlocalRetriever(collection=notes, k=2)
    (first, _) = retriever.invoke("how is data kept safe?")
    assert (first.id, first.page_content) == ("backup", "Restic backs up the server each night.")
    assert (first.metadata["year"], first.metadata["source"]) == (2024, "backup")
    assert 0 < first.metadata["relevance"] <= 1
    assert asyncio.run(retriever.ainvoke("how is data kept safe?"))[0].id == "backup"
    only = JlocalRetriever(collection=notes, where={"year": {"$lt": 2022}}, mode="meaning")
    assert [document.id for document in only.invoke("server")] == ["meeting"]
