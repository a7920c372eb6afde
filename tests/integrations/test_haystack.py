"""Haystack: both embedders in a pipeline, which is stored and loaded."""

from __future__ import annotations

import asyncio

import pytest

from jlocal import ArgumentError, Embedder, TextError
from support.alike import assert_alike

pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from jlocal.integrations.haystack import JlocalDocumentEmbedder, JlocalTextEmbedder

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow


def test_vectors_are_those_of_the_embedder(starter: Embedder, texts: list[str]) -> None:
    query, documents = (
        JlocalTextEmbedder("starter", truncate_dim=64),
        [Document(content=t) for t in texts],
    )
    expected = starter.encode_query(texts[0], truncate_dim=64)
    for same in (query, JlocalTextEmbedder.from_dict(query.to_dict())):
        same.warm_up()
        assert_alike(same.run(texts[0])["embedding"], expected)
        assert_alike(asyncio.run(same.run_async(texts[0]))["embedding"], expected)
    embedder = JlocalDocumentEmbedder("starter")
    for same in (embedder, JlocalDocumentEmbedder.from_dict(embedder.to_dict())):
        found = same.run(documents)["documents"]
        assert_alike([d.embedding for d in found], starter.encode_document(texts))
        found = asyncio.run(same.run_async(documents))["documents"]
        assert_alike([d.embedding for d in found], starter.encode_document(texts))
    assert [document.embedding for document in documents] == [None] * 3
    assert embedder.run([]) == {"documents": []}


def test_metadata_stand_before_the_content(starter: Embedder) -> None:
    embedder = JlocalDocumentEmbedder("starter", meta_fields_to_embed=["title", "none"])
    embedder = JlocalDocumentEmbedder.from_dict(embedder.to_dict())
    (found,) = embedder.run([Document(content="It purrs.", meta={"title": "The cat"})])["documents"]
    assert_alike(found.embedding, starter.encode_document("The cat\nIt purrs."))
    one = JlocalDocumentEmbedder("starter", meta_fields_to_embed="title")
    assert one.to_dict()["init_parameters"]["meta_fields_to_embed"] == ["title"]


def test_the_wrong_embedder_says_which_to_take() -> None:
    with pytest.raises(TextError, match="JlocalTextEmbedder"):
        JlocalTextEmbedder("starter").run([Document(content="a")])
    with pytest.raises(ArgumentError, match="JlocalTextEmbedder"):
        JlocalDocumentEmbedder("starter").run("a cat")


def test_a_stored_pipeline_is_loaded_where_the_module_is_allowed(texts: list[str]) -> None:
    store = InMemoryDocumentStore()
    documents = [Document(content=text) for text in texts]
    store.write_documents(JlocalDocumentEmbedder("starter").run(documents)["documents"])
    pipeline = Pipeline()
    pipeline.add_component("query", JlocalTextEmbedder("starter"))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("query.embedding", "retriever.query_embedding")
    found = pipeline.run({"query": {"text": "who chases mice?"}})["retriever"]["documents"]
    assert found[0].content == texts[2]
    alone = Pipeline()
    alone.add_component("query", JlocalTextEmbedder("starter", truncate_dim=64))
    loaded = Pipeline.loads(alone.dumps(), allowed_modules=["jlocal.integrations.haystack"])
    assert len(loaded.run({"query": {"text": "a cat"}})["query"]["embedding"]) == 64
