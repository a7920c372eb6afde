"""The command llm has the models of this machine, through the entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jlocal import Collection, Embedder
from support.alike import assert_alike

pytest.importorskip("llm")
tomllib = pytest.importorskip("tomllib")

from jlocal.integrations.llm import JlocalModel  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path):
    """Run llm where jlocal's entry points are those of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = tmp_path / "path" / "jlocal-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: jlocal\nVersion: 0\n")
    points = project["entry-points"]["llm"].items()
    lines = "".join(f"{name} = {module}\n" for name, module in points)
    (installed / "entry_points.txt").write_text(f"[llm]\n{lines}")
    environment = os.environ | {
        "PYTHONPATH": str(installed.parent),
        "LLM_USER_PATH": str(tmp_path / "llm"),
        "JLOCAL_HOME": str(tmp_path / "jlocal"),
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert not done.returncode, done.stderr
        return done.stdout

    return run


def test_both_sides_are_those_of_the_embedder(starter: Embedder, texts: list[str]) -> None:
    documents, queries = JlocalModel("starter"), JlocalModel("starter", is_query=True)
    assert_alike(list(documents.embed_multi(texts)), starter.encode_document(texts))
    assert_alike(queries.embed(texts[0]), starter.encode_query(texts[0]))


def test_llm_lists_and_embeds_with_both_sides(run, starter: Embedder) -> None:
    listed = run("embed-models", "list")
    assert "jlocal/starter " in listed
    assert "jlocal/starter:query " in listed
    vector = json.loads(run("embed", "-m", "jlocal/starter:query", "-c", "a cat"))
    assert_alike(vector, starter.encode_query("a cat"))


def test_llm_finds_in_what_was_exported(run, notes: Collection, tmp_path: Path) -> None:
    from jlocal.collection.llm import export_to_llm

    target = tmp_path / "llm.db"
    export_to_llm(notes.path, target, "notes")
    found = run("similar", "notes", "-d", str(target), "-c", "who chases mice?", "-n", "1")
    assert json.loads(found)["id"] == "cats"
