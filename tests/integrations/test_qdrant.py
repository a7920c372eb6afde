"""Qdrant takes the vectors of an Embedder; docs/integrations.md has the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal import Embedder

pytest.importorskip("qdrant_client")

from qdrant_client import QdrantClient, models

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow


def test_scores_are_cosines_of_the_embedder(
    tmp_path: Path, starter: Embedder, texts: list[str]
) -> None:
    size = 64
    client = QdrantClient(path=str(tmp_path))
    client.create_collection(
        "notes",
        vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE),
    )
    documents = starter.encode_document(texts, truncate_dim=size)
    client.upload_collection("notes", documents, payload=[{"text": text} for text in texts])
    query = starter.encode_query("who chases mice?", truncate_dim=size)
    client.close()
    again = QdrantClient(path=str(tmp_path))
    found = again.query_points("notes", query=query, limit=3).points
    again.close()
    assert found[0].payload == {"text": texts[2]}
    cosines = sorted((documents @ query).tolist(), reverse=True)
    assert [point.score for point in found] == pytest.approx(cosines, abs=1e-3)
