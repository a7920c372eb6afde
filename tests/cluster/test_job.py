"""A job gives each text of a corpus exactly one row, whatever dies and however it is shared."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder
from jlocal.cluster.job import Job, new_job, plan
from jlocal.cluster.nodes import Room, Workers, model_here
from jlocal.cluster.run import run_part
from jlocal.cluster.worker import Worker
from jlocal.embed.options import EncodeOptions
from jlocal.errors import ArgumentError, ModelError, OutputError
from jlocal.files import sha256_of
from jlocal.inputs.corpus import Fields
from jlocal.models.starter import FILE

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

BAD = ["", "   ", None, 7, ["x"], "word " * 9000, "\ud800 alone", {"a": 1}, True, 1.5]


def good(number: int) -> str:
    return f"Text {number} tells of {['cats', 'backups', 'meetings'][number % 3]}."


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Make 100 texts in three files, ten of them bad."""
    (tmp_path / "in").mkdir()
    rows = [{"id": f"t{n}", "text": good(n)} for n in range(100)]
    for number, bad in enumerate(BAD):
        rows[3 + 9 * number]["text"] = bad
    first, second = rows[:40], rows[40:70]
    (tmp_path / "in" / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in first))
    (tmp_path / "in" / "b.jsonl").write_text("\n".join(map(json.dumps, second)))
    lines = "".join(f"{json.dumps(row)}\n" for row in rows[70:])
    (tmp_path / "in" / "c.ndjson").write_text(lines)
    return tmp_path / "in"


def job(corpus: Path, output: str = "out", **more) -> Job:
    of_model = {name: more.pop(name) for name in ("options", "on_long") if name in more}
    made = new_job(str(corpus), str(corpus.parent / output), "starter", **of_model)
    return replace(made, **{"shard_rows": 7, **more})


def rows(output: Path) -> list[dict]:
    return parquet.read_table(output).to_pylist()


def test_each_text_has_one_row_with_a_vector_or_an_error(corpus: Path, tmp_path: Path) -> None:
    planned = plan(job(corpus))
    assert (planned.done, len(planned.tasks)) == (0, 6 + 5 + 5)
    summary = run_part(job(corpus), planned)
    assert (summary.texts, summary.errors, summary.failures) == (90, 10, [])
    found = rows(tmp_path / "out")
    assert [row["id"] for row in found] == [f"t{n}" for n in range(100)]
    errors = {row["id"]: row["error"] for row in found if row["vector"] is None}
    assert list(errors) == [f"t{3 + 9 * n}" for n in range(10)]
    assert "above the limit of" in errors["t48"]
    assert "lone surrogate" in errors["t57"]
    assert all(row["error"] is None for row in found if row["id"] not in errors)
    with Embedder("starter") as model:
        kept = [row for row in found if row["vector"]]
        expected = model.encode_document([good(int(row["id"][1:])) for row in kept])
    vectors = np.array([row["vector"] for row in kept], np.float32)
    assert np.einsum("ij,ij->i", vectors, expected).min() > 0.99999
    schema = parquet.read_schema(next((tmp_path / "out").glob("*.parquet")))
    assert schema.field("vector").type == pyarrow.list_(pyarrow.float32(), 256)
    made = json.loads(schema.metadata[b"jlocal"])
    assert (made["model_sha256"], made["prompt"]) == (sha256_of(FILE), "Document: ")


@pytest.mark.slow
def test_what_it_made_becomes_a_collection(corpus: Path, tmp_path: Path) -> None:
    run_part(job(corpus), plan(job(corpus)))
    failures = []
    with Collection(tmp_path / "n.db") as collection:
        count = collection.import_vectors(
            tmp_path / "out", texts=corpus, on_failure=failures.append
        )
        assert (count, len(failures)) == (90, 10)
        assert collection.search("Text 4 tells of backups.", n=1)[0].path == "t4"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8", "ubinary"])
def test_texts_and_other_numbers_are_written_where_asked_for(
    precision: str, corpus: Path, tmp_path: Path
) -> None:
    options = EncodeOptions("query", None, 64, precision)
    made = job(corpus, options=options, on_long="truncate", with_text=True)
    summary = run_part(made, plan(made))
    assert (summary.texts, summary.errors) == (91, 9)
    with Embedder("starter", on_long="truncate") as model:
        for row in (row for row in rows(tmp_path / "out")[:20] if row["vector"]):
            vector = model.encode_query(row["text"], truncate_dim=64, precision=precision)
            if precision == "ubinary":  # a sign may turn where a number is nearly zero
                bits = np.unpackbits(np.array(row["vector"], np.uint8) ^ vector)
                assert bits.sum() <= 2
            else:
                atol = 1 if precision == "int8" else 0.01
                np.testing.assert_allclose(row["vector"], vector, atol=atol)


@pytest.mark.slow
def test_parts_share_the_shards(corpus: Path, tmp_path: Path) -> None:
    made = job(corpus)
    done = [run_part(made, plan(made), (number, 3)).texts for number in (1, 2, 3)]
    assert sum(done) == 90
    assert all(done)
    assert len({row["id"] for row in rows(tmp_path / "out")}) == 100
    assert run_part(made, plan(made)).texts == 0


@pytest.mark.slow
def test_files_that_came_since_are_taken_in(corpus: Path, tmp_path: Path) -> None:
    made = job(corpus)
    run_part(made, plan(made))
    (corpus / "0.txt").write_text("a new file, the first by name\n")
    planned = plan(made)
    assert (planned.done, len(planned.tasks)) == (16, 1)
    run_part(made, planned)
    ids = [row["id"] for row in rows(tmp_path / "out")]
    assert len(ids) == len(set(ids)) == 101
    assert ids[-1] == "0.txt:1"


@pytest.mark.slow
def test_another_job_is_refused(corpus: Path, tmp_path: Path) -> None:
    plan(job(corpus))
    for more, named in (
        ({"shard_rows": 8}, "another shard_rows: 7, not 8"),
        ({"options": EncodeOptions("query")}, "another prompt: 'Document: ', not 'Query: '"),
        ({"options": EncodeOptions(None, None, 32)}, "another dimensions"),
        ({"fields": Fields("n")}, "another fields"),
    ):
        with pytest.raises(OutputError, match=named):
            plan(job(corpus, **more))
    with pytest.raises(ArgumentError, match="lies in the corpus"):
        plan(job(corpus, "in/out"))
    plan(job(corpus, "in/../beside"))
    (corpus / "a.jsonl").write_text('{"text": "changed"}\n')
    with pytest.raises(OutputError, match=r"a\.jsonl changed since .* was begun"):
        plan(job(corpus))
    (corpus / "a.jsonl").unlink()
    with pytest.raises(OutputError, match=r"a\.jsonl was removed since"):
        plan(job(corpus))
    (tmp_path / "out" / "_jlocal" / "job.json").write_text("[]")
    with pytest.raises(OutputError, match=r"job\.json is damaged"):
        plan(job(corpus))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.parquet").touch()
    with pytest.raises(OutputError, match="no part of a job of jlocal"):
        plan(job(corpus, "other"))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        plan(job(corpus, "file"))


def test_a_shard_that_cannot_be_read_is_told(corpus: Path, tmp_path: Path) -> None:
    table = pyarrow.table({"id": ["x"], "other": ["y"]})
    parquet.write_table(table, corpus / "d.parquet")
    made = job(corpus)
    summary = run_part(made, plan(made))
    assert summary.texts == 90
    assert summary.failures == ["d.parquet has no column 'text'; it has: id, other"]
    assert len(plan(made).tasks) == 1


@pytest.mark.slow
def test_a_killed_process_goes_on(corpus: Path, tmp_path: Path) -> None:
    texts = [f'{{"text": "{good(n)} {good(n + 1)}"}}\n' for n in range(4000)]
    (corpus / "z.jsonl").write_text("".join(texts))
    command = [
        *(sys.executable, "-m", "jlocal", "cluster", "embed", str(corpus), str(tmp_path / "out")),
        *("-m", "starter", "--shard-rows", "50", "--part", "1/1", "-q"),
    ]
    seen = 0
    for _ in range(3):
        process = subprocess.Popen(command, cwd=tmp_path)
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "out").glob("*.parquet"))) < seen + 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.random() * 0.3)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        seen = len(list((tmp_path / "out").glob("*.parquet")))
    assert 0 < seen < 82
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    found = rows(tmp_path / "out")
    assert len(found) == len({row["id"] for row in found}) == 4100
    assert sum(row["error"] is not None for row in found) == 10


def test_a_worker_takes_no_other_model(corpus: Path, other_model_file: Path) -> None:
    with pytest.raises(ModelError, match="is not the model of this job: its SHA-256 is"):
        Worker(job(corpus), other_model_file)


def test_a_node_fetches_the_model_that_it_lacks(
    other_model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JLOCAL_CACHE", str(tmp_path / "cache"))
    data, right = FILE.read_bytes(), sha256_of(FILE)
    assert model_here("starter", right) == FILE
    with pytest.raises(ModelError, match=r"is not here: .*no such file"):
        model_here("/no/model.gguf", right)
    for name in ("/no/model.gguf", str(other_model_file)):
        fetched = model_here(name, right, lambda offset: data[offset : offset + 1_000_000])
        assert fetched.read_bytes() == data
    assert model_here("/no/model.gguf", right) == fetched
    with pytest.raises(ModelError, match="the fetched model has the SHA-256"):
        model_here("/no/model.gguf", "0" * 64, lambda offset: data[offset : offset + 1_000_000])
    assert [path.name for path in fetched.parent.iterdir()] == [fetched.name]


@pytest.mark.parametrize(
    ("rooms", "asked", "placed"),
    [
        ([Room(8)], Workers(), (1, 8, 0)),
        ([Room(8), Room(6)], Workers(), (2, 6, 0)),
        ([Room(8), Room(8)], Workers(actors=4), (4, 4, 0)),
        ([Room(2)], Workers(actors=2), (2, 1, 0)),
        ([Room(16, 4), Room(16, 4), Room(8)], Workers(), (8, 4, 1)),
        ([Room(16, 1)], Workers(gpus=0.5), (2, 8, 0.5)),
        ([Room(16, 1)], Workers(gpus=0), (1, 16, 0)),
    ],
)
def test_actors_get_what_the_nodes_have(rooms, asked: Workers, placed: tuple) -> None:
    found = asked.placed(rooms)
    assert (found.actors, found.cpus, found.gpus) == placed


def test_actors_without_room_are_refused() -> None:
    for rooms, asked in (
        ([Room(2)], Workers(actors=3)),
        ([Room(2)], Workers(cpus=4)),
        ([Room(8)], Workers(gpus=1)),
        ([], Workers()),
    ):
        with pytest.raises(ArgumentError, match=r"the cluster has room for [02] of"):
            asked.placed(rooms)
    with pytest.raises(ArgumentError, match="it is at least 1"):
        Workers(actors=0).placed([Room(2)])
    assert Workers().placed([Room(8)], spare=1).cpus == 7
    assert Workers().placed([Room(8)] * 9, most=2).actors == 2


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, jlocal; from jlocal.cli import cli\n"
        "try: cli.main(['--help'], standalone_mode=True)\n"
        "except SystemExit: pass\n"
        "names = ('ray', 'pyarrow', 'lancedb', 'qdrant_client', 'jlocal.cluster')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.splitlines()[-1] == "[]"
