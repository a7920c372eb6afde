"""The model that ships: it is what its checkpoint gives, it finds, and it never takes a place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder
from jlocal.bundle.create import create
from jlocal.bundle.install import install
from jlocal.embed.similarity import similarity
from jlocal.errors import ModelError
from jlocal.models import names, registry, starter
from jlocal_convert import convert
from support.reference import Reference
from support.texts import AWKWARD

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "starter" / "jlocal-starter"
TASKS = ("retrieval", "text-matching", "clustering", "classification")
TEXTS = [
    *AWKWARD.values(),
    "A man is playing a guitar on the street.",
    "The harvest was lost because the rain came too late in the year.",
    "Backups run every night at two o'clock and are kept for thirty days. " * 20,
]


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jlocal", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    folder = tmp_path_factory.mktemp("starter")
    files = convert(CHECKPOINT, tasks=["all"], types=["F16", "Q8_0"], output=folder)
    by_name = {file.name: file for file in files}
    return lambda task, kind: by_name[f"jlocal-starter-{task}-{kind}.gguf"]


def test_the_file_is_what_the_checkpoint_gives(made) -> None:
    assert made("retrieval", "Q8_0").read_bytes() == starter.FILE.read_bytes()


def test_sizes() -> None:
    assert starter.FILE.stat().st_size <= 10_000_000
    files = [file for file in CHECKPOINT.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 20_000_000


@pytest.mark.parametrize("task", TASKS)
def test_vectors_are_those_of_the_checkpoint(made, task: str) -> None:
    reference = Reference(CHECKPOINT, task)
    for prompt_name in ("query", "document"):
        prompt = {"query": "Query: ", "document": "Document: "}[prompt_name]
        wanted = reference.encode(TEXTS, prompt)
        for kind, least in (("F16", 0.9999), ("Q8_0", 0.999)):
            with Embedder(made(task, kind)) as embedder:
                got = embedder.encode(TEXTS, prompt_name=prompt_name)
            cosines = (got * wanted).sum(axis=1)
            assert cosines.mean() >= least, (kind, prompt_name)
            assert cosines.min() >= 1 - 3 * (1 - least), (kind, prompt_name)


def test_it_knows_what_belongs_together() -> None:
    passages = [
        "Copies of all files are made every night and kept for a month on a second disk.",
        "Water boils at a lower temperature on a mountain, as the air presses less on it.",
        "The president is chosen by the citizens every four years.",
        "Bread rises because yeast turns sugar into gas.",
        "A kitten was sleeping on the warm stones of the garden wall.",
    ]
    questions = [
        "how often is the data backed up?",
        "why does cooking take longer at high altitude?",
        "who elects the head of state?",
        "baking with yeast",
        "where did the small cat rest?",
    ]
    with Embedder("starter") as embedder:
        scores = similarity(
            embedder.encode(questions, prompt_name="query"),
            embedder.encode(passages, prompt_name="document"),
        )
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_it_serves_where_no_model_is(tmp_path: Path) -> None:
    done = run("embed", "-c", "hello", cwd=tmp_path)
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["embedding"]) == 256
    (hint,) = done.stderr.splitlines()
    assert "starter" in hint
    assert "jlocal pull small" in hint
    named = run("embed", "-c", "hello", "-m", "Starter:Q8_0", cwd=tmp_path)
    assert (named.returncode, named.stderr) == (0, "")
    assert json.loads(named.stdout)["embedding"] == json.loads(done.stdout)["embedding"]
    assert run("show", cwd=tmp_path).returncode == 0


def test_a_folder_of_its_name_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "starter").mkdir()
    assert run("embed", "-c", "hello", "-m", "starter", cwd=tmp_path).returncode == 0


def test_it_never_takes_the_place_of_a_model_that_was_named(tmp_path: Path) -> None:
    for name in ("small", "nano:F16", "starterr", "starter:F16", "./starter", "no.gguf"):
        done = run("embed", "-c", "hello", "-m", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, ""), name
        assert len(done.stderr.splitlines()) == 1


def test_models_on_disk_come_first(converted, tmp_path: Path) -> None:
    assert names.default_model() == "starter"
    for number, task in enumerate(("retrieval", "clustering")):
        bundle = create([str(converted("qwen3", task))], tmp_path / f"{number}.tar")
        install(bundle)
        if number == 0:
            assert names.default_model() == registry.installed()[0].name
    with pytest.raises(ModelError, match="name a model with model="):
        names.default_model()
    done = run("embed", "-c", "hello", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "name a model with -m" in done.stderr


def test_it_is_neither_pulled_nor_removed() -> None:
    for arguments in (("pull", "starter", "--yes"), ("rm", "starter", "--yes")):
        done = run(*arguments)
        assert done.returncode == 1
        assert "comes with jlocal" in done.stderr
    assert starter.FILE.exists()


def test_a_first_search(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "backup.md").write_text("We decided to keep copies of every database for 30 days.\n")
    (notes / "garden.md").write_text("Tomatoes need sun and much water in July.\n")
    (notes / "taxes.md").write_text("The tax return for the company is due at the end of May.\n")
    assert run("index", "notes", "-d", "notes.db", cwd=tmp_path).returncode == 0
    for query, first in (
        ("what did we decide about backups?", "backup.md"),
        ("when do I have to send the declaration to the tax office?", "taxes.md"),
        ("growing vegetables", "garden.md"),
    ):
        done = run("search", "-d", "notes.db", query, "--json", cwd=tmp_path)
        assert Path(json.loads(done.stdout.splitlines()[0])["path"]).name == first


def test_quantised_below_eight_bits(tmp_path: Path) -> None:
    (file,) = convert(CHECKPOINT, tasks=["retrieval"], types=["Q4_K_M"], output=tmp_path)
    with Embedder(file) as small, Embedder("starter") as full:
        cosines = (small.encode(TEXTS) * full.encode(TEXTS)).sum(axis=1)
    assert np.mean(cosines) > 0.95
