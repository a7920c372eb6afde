"""Search in Python: prompts, places, copies and what it imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal import Collection, CollectionError, Embedder, Hit
from jlocal.collection.chunking.headings import embedded
from jlocal.collection.search.ranking import MODES
from jlocal.errors import ArgumentError, TextError
from support.collection_files import notes_to_search
from support.texts import AWKWARD, prose


@pytest.fixture(scope="module")
def model(converted) -> Iterator[Embedder]:
    """Open one with the whole vocabulary: with few tokens all of these notes are much alike."""
    with Embedder(converted("qwen3", "retrieval", "F32")) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, model: Embedder) -> Path:
    """Return a folder with a few notes and their collection."""
    return notes_to_search(tmp_path_factory.mktemp("search"), model)


@pytest.mark.slow
def test_prompts_and_places(notes: Path, model: Embedder) -> None:
    with Collection(notes / "notes.db", model) as collection:
        hits = collection.search("# Budget", mode="meaning", prompt_name="document")
        assert len(hits) == 4
        budget = next(hit for hit in hits if hit.path.endswith("budget.md"))
        assert isinstance(budget, Hit)
        passage = embedded("\n".join(budget.headings), budget.text)
        expected = model.encode_query("# Budget") @ model.encode_document(passage)
        hits = collection.search("# Budget", mode="meaning")
        again = next(hit for hit in hits if hit.path == budget.path)
        assert again.score >= expected - 1e-5
        lines = Path(again.path).read_text().splitlines()
        assert again.text.splitlines()[0] == lines[again.first_line - 1] or (
            again.text.splitlines()[0] in lines[again.first_line - 1]
        )
        (hit,) = collection.search("x", n=1)
        assert hit == collection.search("x", n=3)[0]
        for text in AWKWARD.values():
            if text.strip():
                assert len(collection.search(text)) == 4
        for query in ("", " \n"):
            with pytest.raises(ArgumentError, match="the query is empty"):
                collection.search(query)
        with pytest.raises(ArgumentError):
            collection.search("x", n=0)
        with pytest.raises(TextError):
            collection.search(prose(model.max_seq_length))


@pytest.mark.slow
def test_copies_are_one_hit(tmp_path: Path, model: Embedder) -> None:
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text("another" if name == "c.md" else "same")
    with Collection(tmp_path / "c.db", model) as collection:
        collection.index([tmp_path / name for name in ("a.md", "b.md", "c.md")])
        for mode in MODES:
            hits = collection.search("same", mode=mode)
            assert [Path(hit.path).name for hit in hits][:1] == ["a.md"]
            assert [Path(place.path).name for place in hits[0].others] == ["b.md"]
            assert len(hits) == (1 if mode == "words" else 2)
        (hit,) = collection.search("same", path="b.md")
        assert (Path(hit.path).name, hit.others) == ("b.md", ())


def test_a_collection_that_was_never_filled(tmp_path: Path, model: Embedder) -> None:
    (tmp_path / "bad.bin").write_bytes(b"\0")
    with Collection(tmp_path / "c.db", model) as collection:
        assert collection.index(tmp_path / "bad.bin").failed == 1
        with pytest.raises(CollectionError, match="is empty; index files"):
            collection.search("x")
        # It may still become another one.
        (tmp_path / "good.md").write_text("good")
        assert collection.index(tmp_path / "good.md", chunk=64).new == 1
        assert collection.config.chunk == 64


@pytest.mark.slow
def test_importing_jlocal_stays_light() -> None:
    code = (
        "import sys, jlocal; print([m for m in ('llama_cpp', 'numpy', 'sqlite3') "
        "if m in sys.modules]); jlocal.Collection, jlocal.Hit, jlocal.Report"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_opening_a_collection_loads_neither_llama_cpp_nor_what_reads_files() -> None:
    code = (
        "import sys; from jlocal.collection.collection import Collection; Collection('c.db'); "
        "print([m for m in ('llama_cpp', 'jlocal.inputs.walk', 'jlocal.collection.index.run', "
        "'jlocal.collection.chunking.chunks') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
