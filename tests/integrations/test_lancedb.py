"""LanceDB: rows are documents, searches are queries, and a table is opened again elsewhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

import pytest

from jlocal import ArgumentError, Embedder, ModelError, TextError, TruncationWarning
from support.alike import assert_alike

lancedb = pytest.importorskip("lancedb")

from lancedb.embeddings import get_registry  # noqa: E402
from lancedb.pydantic import LanceModel, Vector  # noqa: E402

from jlocal.integrations.lancedb import JlocalEmbeddings  # noqa: E402

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow


def create(**arguments: object) -> JlocalEmbeddings:
    return get_registry().get("jlocal").create(**arguments)


def make_table(folder: Path, **arguments: object):
    function = create(name="starter", **arguments)

    class Note(LanceModel):
        text: Optional[str] = function.SourceField(default=None)  # noqa: UP045 - LanceDB reads it
        vector: Optional[Vector(function.ndims())] = function.VectorField(default=None)  # noqa: UP045

    return lancedb.connect(folder).create_table("notes", schema=Note)


def test_vectors_are_those_of_the_embedder(starter: Embedder, texts: list[str]) -> None:
    for function in (create(model="starter", truncate_dim=64), JlocalEmbeddings(name="starter")):
        length = function.ndims()
        documents = starter.encode_document(texts, truncate_dim=length)
        assert_alike(function.compute_source_embeddings(texts), documents)
        (query,) = function.compute_query_embeddings("who chases mice?")
        assert_alike(query, starter.encode_query("who chases mice?", truncate_dim=length))
        assert function.safe_model_dump()["model"] == "starter"
    assert function.compute_source_embeddings([]) == []


def test_a_table_finds_and_is_opened_again_in_another_process(
    tmp_path: Path, starter: Embedder, texts: list[str]
) -> None:
    table = make_table(tmp_path, truncate_dim=64)
    table.add([{"text": text} for text in texts])
    assert table.search("who chases mice?").limit(1).to_list()[0]["text"] == texts[2]
    code = (
        "import json, sys, lancedb, jlocal.integrations.lancedb\n"
        "table = lancedb.connect(sys.argv[1]).open_table('notes')\n"
        "table.add([{'text': 'A cat sleeps.'}])\n"
        "found = table.search('who meets?').metric('cosine').limit(4).to_list()\n"
        "print(json.dumps([[row['text'], row['_distance']] for row in found]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert not done.returncode, done.stderr
    found = dict(json.loads(done.stdout))
    texts = [*texts, "A cat sleeps."]
    query = starter.encode_query("who meets?", truncate_dim=64)
    cosines = starter.encode_document(texts, truncate_dim=64) @ query
    assert found == pytest.approx(dict(zip(texts, 1 - cosines, strict=True)), abs=1e-3)


def test_a_row_without_a_text_has_no_vector(tmp_path: Path, texts: list[str]) -> None:
    table = make_table(tmp_path)
    table.add([{"text": None}, {"text": texts[0]}], on_bad_vectors="null")
    rows = {row["text"]: row["vector"] for row in table.to_arrow().to_pylist()}
    assert rows[None] is None
    assert len(rows[texts[0]]) == 256


def test_an_error_is_not_repeated_for_minutes() -> None:
    function, begun = create(model="starter"), time.monotonic()
    with pytest.raises(TextError, match="9,004 tokens"):
        function.compute_source_embeddings_with_retry(["a " * 9000])
    with pytest.raises(TextError, match="int"):
        function.compute_query_embeddings_with_retry([3])
    assert time.monotonic() - begun < 60
    cutting = create(model="starter", on_long="truncate")
    with pytest.warns(TruncationWarning, match="9,004"):
        assert len(cutting.compute_source_embeddings_with_retry(["a " * 9000])) == 1


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="modle"):
        create(modle="starter")
    with pytest.raises(ModelError, match="no-such"):
        create(name="no-such").ndims()
    with pytest.raises(ArgumentError, match="clustering"):
        create(name="starter", task="clustering").ndims()


def test_an_asynchronous_table_leaves_the_loop_free(tmp_path: Path, texts: list[str]) -> None:
    make_table(tmp_path)

    async def find() -> tuple[str, int]:
        table = await (await lancedb.connect_async(tmp_path)).open_table("notes")
        adding = asyncio.create_task(
            table.add([{"text": f"{t} {'and so on ' * 40}"} for t in texts * 9])
        )
        turns = 0
        while not adding.done():
            await asyncio.sleep(0.002)
            turns += 1
        await adding
        found = await (await table.search("who chases mice?")).limit(1).to_list()
        return found[0]["text"], turns

    text, turns = asyncio.run(find())
    assert text.startswith(texts[2])
    assert turns > 2
