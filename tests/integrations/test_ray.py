"""Ray's processes die, and each text still has exactly one row; nodes come from Ray's own tools.

Ray runs in processes of its own: what it leaves in one would be in the way of other tests.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder

pytestmark = [
    pytest.mark.slow(times=20),
    pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc"),
]

pytest.importorskip("ray")
parquet = pytest.importorskip("pyarrow.parquet")

BAD = ["", "   ", None, 7, ["x"], "word " * 9000, "\ud800 alone", {"a": 1}, True, 1.5]
MARK = "JLOCAL_TEST_OF_RAY"


def good(number: int) -> str:
    return f"Text {number} tells of {['cats', 'backups', 'meetings'][number % 3]} and more."


def corpus(path: Path, count: int) -> Path:
    """Write texts, ten of them bad."""
    texts: list[object] = [good(number) for number in range(count)]
    for number, bad in enumerate(BAD):
        texts[3 + number * (count // 10)] = bad
    lines = [json.dumps({"id": f"t{n}", "text": text}) for n, text in enumerate(texts)]
    path.write_text("\n".join(lines))
    return path


def rows(output: Path) -> list[dict]:
    return parquet.read_table(output).to_pylist()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Mark all processes that Ray starts, and end those that are left."""
    mark = uuid.uuid4().hex
    # By its own choice Ray's processes are nice, and wait for everyone else on a busy machine.
    yield {**os.environ, MARK: mark, "RAY_worker_niceness": "0"}
    for pid, _ in processes(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes(mark: str) -> Iterator[tuple[int, str]]:
    """Yield the processes of a test: pid and command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                yield int(folder.name), command.decode("utf-8", "replace")


def run_script(environment: dict[str, str], folder: Path) -> list[str]:
    """Run run.py, and return what it prints; Ray prints there too."""
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    return [line.removeprefix("TOLD ") for line in lines if line.startswith("TOLD ")]


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_actors_and_the_driver_are_killed(environment: dict[str, str], tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "in.jsonl", 2000), tmp_path / "out"
    command = [
        *(sys.executable, "-m", "jlocal", "cluster", "embed", "in.jsonl", "out", "-m", "starter"),
        *("--shard-rows", "25", "--actors", "2", "-q"),
    ]

    def parts() -> int:
        return len(list(output.glob("*.parquet")))

    def actors() -> list[int]:
        found = processes(environment[MARK])
        return [pid for pid, name in found if name.startswith("ray::") and "_ShardActor" in name]

    assert source.parent == tmp_path
    driver = subprocess.Popen(command, cwd=tmp_path, env=environment)
    wait_for(lambda: parts() >= 2)
    # The process of an actor is Ray's worker.
    os.kill(actors()[0], signal.SIGKILL)
    seen = parts()
    wait_for(lambda: parts() >= seen + 3)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    wait_for(lambda: not actors())
    assert parts() < 80
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert parts() == 80
    found = rows(output)
    assert [row["id"] for row in found] == [f"t{n}" for n in range(2000)]
    errors = [row["id"] for row in found if row["error"] is not None]
    assert errors == [f"t{3 + n * 200}" for n in range(10)]
    assert all((row["vector"] is None) == (row["error"] is not None) for row in found)
    assert not list((output / "_jlocal").glob("*.tmp"))
    kept = found[:300:7]
    with Embedder("starter") as model:
        expected = model.encode_document([good(int(row["id"][1:])) for row in kept])
    cosines = [
        np.dot(row["vector"], vector)
        for row, vector in zip(kept, expected, strict=True)
        if row["vector"]
    ]
    assert min(cosines) > 0.99999


NODES = """
import json, os, threading, time
from dataclasses import replace
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from jlocal.cluster.job import new_job, plan
from jlocal.cluster.nodes import Workers
from jlocal.errors import ArgumentError
from jlocal.integrations import ray as jlocal_ray
from jlocal.models.starter import FILE

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
# This node has the model in no place that it knows, and a cache of its own.
second = cluster.add_node(num_cpus=1)
jlocal_ray.start(cluster.address)

def summed(summary):
    return summary.texts, summary.errors, summary.failures

job = replace(new_job("in.jsonl", "out", "model.gguf"), shard_rows=25)
planned = plan(job)
try:
    jlocal_ray.embed_files(job, planned, Workers(actors=4))
except ArgumentError as error:
    print("TOLD", error, flush=True)
# What a node would see that does not share this disk.
os.rename("model.gguf", "elsewhere.gguf")
hidden = jlocal_ray.model_here
jlocal_ray.model_here = lambda *_: Path("elsewhere.gguf").absolute()

def remove():
    while len(list(Path("out").glob("*.parquet"))) < 3:
        time.sleep(0.02)
    cluster.remove_node(second, allow_graceful=False)

thread = threading.Thread(target=remove, daemon=True)
thread.start()
summary = jlocal_ray.embed_files(job, planned)
thread.join()
jlocal_ray.model_here = hidden
# Ray learns of a death by and by.
deadline = time.monotonic() + 60
while (alive := sum(node["Alive"] for node in ray.nodes())) > 1 and time.monotonic() < deadline:
    time.sleep(0.1)
fetched = len(list(Path(os.environ["JLOCAL_CACHE"], "cluster").glob("*.gguf")))
told = {"nodes": alive, "fetched": fetched, "summary": summed(summary)}
print("TOLD", json.dumps(told), flush=True)
"""


def test_a_node_dies(environment: dict[str, str], tmp_path: Path) -> None:
    from jlocal.models.starter import FILE

    corpus(tmp_path / "in.jsonl", 1000)
    (tmp_path / "model.gguf").write_bytes(FILE.read_bytes())
    (tmp_path / "run.py").write_text(NODES)
    environment["JLOCAL_CACHE"] = str(tmp_path / "cache")
    room, told = run_script(environment, tmp_path)
    assert room.startswith("the cluster has room for 3 of actors=4")
    assert json.loads(told) == {"nodes": 1, "fetched": 1, "summary": [990, 10, []]}
    found = rows(tmp_path / "out")
    assert [row["id"] for row in found] == [f"t{n}" for n in range(1000)]
    assert sum(row["error"] is not None for row in found) == 10


COLUMNS = """
import json
import ray
from jlocal.cluster.nodes import Workers
from jlocal.integrations import ray as jlocal_ray

ray.init(address="local", num_cpus=2, include_dashboard=False)
texts = [{"text": text} for text in ["A text.", "", None, "Another text."]]
table = jlocal_ray.embed(ray.data.from_items(texts), "starter", workers=Workers(actors=1))
print("TOLD", json.dumps(table.take_all(), default=list), flush=True)
"""


def test_a_dataset_gets_vectors_and_errors(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(COLUMNS)
    (told,) = run_script(environment, tmp_path)
    table = json.loads(told)
    assert [row["error"] for row in table] == [None, "is empty", "its text is of type null", None]
    with Embedder("starter") as model:
        expected = model.encode_document(["A text.", "Another text."])
    for row, vector in zip((table[0], table[3]), expected, strict=True):
        assert np.dot(row["vector"], vector) > 0.99999
    assert table[1]["vector"] is None
