"""LlamaIndex: an index and a retriever find with it; its configuration comes back."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from jlocal import ArgumentError, Collection, Embedder
from support.alike import assert_alike

pytest.importorskip("llama_index.core")

from llama_index.core import Document, VectorStoreIndex

from jlocal.integrations.llama_index import JlocalEmbedding, JlocalRetriever

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow


def test_vectors_are_those_of_the_embedder(starter: Embedder, texts: list[str]) -> None:
    model = JlocalEmbedding("starter", truncate_dim=64)
    query = starter.encode_query(texts[0], truncate_dim=64)
    documents = starter.encode_document(texts, truncate_dim=64)
    remade = JlocalEmbedding.from_dict(model.to_dict())
    for same in (model, remade, pickle.loads(pickle.dumps(model))):
        assert_alike(same.get_query_embedding(texts[0]), query)
        assert_alike(same.get_text_embedding_batch(texts), documents)
        assert_alike(same.get_text_embedding(texts[1]), documents[1])


def test_asynchronous_calls_give_the_same(starter: Embedder, texts: list[str]) -> None:
    model = JlocalEmbedding("starter")

    async def embed() -> tuple[list, list, list]:
        return (
            await model.aget_query_embedding(texts[0]),
            await model.aget_text_embedding(texts[0]),
            await model.aget_text_embedding_batch(texts),
        )

    query, document, documents = asyncio.run(embed())
    assert_alike(query, starter.encode_query(texts[0]))
    assert_alike(document, starter.encode_document(texts[0]))
    assert_alike(documents, starter.encode_document(texts))


def test_wrong_arguments_fail_when_it_is_made() -> None:
    with pytest.raises(ArgumentError, match="clustering"):
        JlocalEmbedding("starter", task="clustering")
    with pytest.raises(TypeError, match="the model is model_name"):
        JlocalEmbedding(model="starter")
    with pytest.raises(ArgumentError, match="pass a Collection"):
        JlocalRetriever("notes")


def test_an_index_finds_with_it(texts: list[str]) -> None:
    documents = [Document(text=text) for text in texts]
    index = VectorStoreIndex.from_documents(documents, embed_model=JlocalEmbedding("starter"))
    found = index.as_retriever(similarity_top_k=1).retrieve("who chases mice?")
    assert found[0].text == texts[2]


def test_the_retriever_returns_hits_with_their_metadata(notes: Collection) -> None:
    retriever = JlocalRetriever(notes, similarity_top_k=2)
    first = retriever.retrieve("how is data kept safe?")[0]
    assert (first.node.node_id, first.text) == ("backup", "Restic backs up the server each night.")
    assert (first.metadata["year"], first.metadata["source"]) == (2024, "backup")
    found = asyncio.run(retriever.aretrieve("how is data kept safe?"))
    assert found[0].node.node_id == "backup"
    only = JlocalRetriever(notes, where={"year": {"$lt": 2022}}, mode="meaning")
    assert [node.node.node_id for node in only.retrieve("server")] == ["meeting"]
