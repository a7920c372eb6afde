"""Collections survive kills, other indexers and full disks.

TEST_KILLS=50 TEST_FILES=2000 pytest -s tests/collection/test_collection_crash.py does it at full
length, and TEST_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder
from jlocal.collection.database.lock import sole_indexer
from support.collection_files import check, rows
from support.disks import disk_of
from support.texts import prose

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TEST_KILLS", "12"))
FILES = int(os.environ.get("TEST_FILES", "300"))


_INDEX = """
import sys
from jlocal import Collection
with Collection(sys.argv[1], sys.argv[2], threads=1) as collection:
    report = collection.index(sys.argv[3], chunk=48, wait=float(sys.argv[4]))
    print(report.new + report.unchanged, report.failed)
"""


def start(database: Path, model: Path, folder: Path, wait: float = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _INDEX, database, model, folder, str(wait)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(FILES):
        (folder / f"{number}.md").write_text(prose(20 + number % 100, number))
    return folder


def test_killed_at_any_moment(many: Path, model_file: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)
    began = time.monotonic()
    clean = start(tmp_path / "clean.db", model_file, many)
    assert clean.communicate()[0] == f"{FILES} 0\n"
    took = time.monotonic() - began
    database, kills, runs, counts = tmp_path / "killed.db", 0, 0, [0]
    while kills < KILLS:
        # Runs that end before they are killed do not count.
        runs += 1
        assert runs <= 4 * KILLS
        process = start(database, model_file, many)
        try:
            process.wait(rng.uniform(0.3, 1) * took)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if database.exists() and database.stat().st_size:
            check(database)
            counts.append(rows(database)[-5][0])
            # Each goes on where the one before was killed.
            assert counts[-1] >= counts[-2] % FILES
        if counts[-1] == FILES:
            database.unlink()  # once more from the start
    sys.stdout.write(f"{kills} kills in {runs} runs; documents after each: {counts[1:]}\n")
    assert start(database, model_file, many).communicate()[0] == f"{FILES} 0\n"
    check(database)
    assert_same(rows(database), rows(tmp_path / "clean.db"))


def assert_same(left: list[tuple], right: list[tuple]) -> None:
    """Compare but for the last digits of vectors, which depend on what was computed together."""

    def split(found: list[tuple]) -> tuple[list, np.ndarray]:
        vectors = [np.frombuffer(row[8], "<f4") for row in found if len(row) > 1]
        return [row[:8] + row[9:] for row in found], np.stack(vectors)

    (said, vectors), (expected, others) = split(left), split(right)
    assert said == expected
    assert (vectors * others).sum(axis=1).min() > 0.9999


def test_two_indexers_at_once(many: Path, model_file: Path, tmp_path: Path) -> None:
    database = tmp_path / "two.db"
    # Both start with nothing there, and wait for each other.
    both = [start(database, model_file, many, wait=60) for _ in range(2)]
    assert [process.communicate() for process in both] == [(f"{FILES} 0\n", "")] * 2
    check(database)
    assert rows(database)[-5] == (FILES,)
    assert not list(tmp_path.glob("two.db-*"))
    with sole_indexer(database, 0):
        _, errors = start(database, model_file, many).communicate()
    assert "another jlocal is indexing into" in errors


def test_search_while_another_indexes(many: Path, model_file: Path, model, tmp_path: Path) -> None:
    database = tmp_path / "busy.db"
    with Collection(database, model) as collection:
        collection.index(many / "0.md", chunk=48)
    process = start(database, model_file, many)
    found = 0
    while process.poll() is None:
        with Collection(database, model) as collection:
            found = len(collection.search("water", n=FILES))
    assert process.communicate()[0] == f"{FILES} 0\n"
    assert found > 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_of("300k", tmp_path / "disk") as folder:
        yield folder


def full(database: Path, many: Path, model: Embedder, limit: Callable[[int], None]) -> None:
    """Index until there is no room, and see what is left."""
    with Collection(database, model) as collection:
        collection.index(many / "0.md", chunk=48)
    size = database.stat().st_size
    process = subprocess.run(
        [sys.executable, "-m", "jlocal", "index", many, "-d", database],
        preexec_fn=lambda: limit(size), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr.startswith("Error: cannot ")
    assert process.stderr.endswith("; make room and run it again\n")
    assert process.stderr.count("\n") == 1
    check(database)
    assert rows(database)[-5][0] >= 1
    with Collection(database, model) as collection:
        assert collection.search("water")


def test_a_full_disk(many: Path, model: Embedder, small_disk: Path, tmp_path: Path) -> None:
    database = small_disk / "full.db"
    full(database, many, model, lambda _: None)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    with Collection(database, model) as collection:
        collection.index(many)
    check(database)
    assert rows(database)[-5] == (FILES,)


def test_a_file_that_may_not_grow(many: Path, model: Embedder, tmp_path: Path) -> None:
    def limit(size: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, size + 20_000))

    database = tmp_path / "full.db"
    full(database, many, model, limit)
    with Collection(database, model) as collection:
        report = collection.index(many)
    assert report.new + report.unchanged == FILES
    # What was written before the disk was full is not done again.
    assert report.unchanged > 1
