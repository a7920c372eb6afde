"""The file of a journal: what it finds, what is in its way, and what damage does.

TEST_FUZZ=3000 TEST_SEED=1 pytest tests/outputs/test_journal_file.py damages more of them.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jlocal import OutputError
from jlocal.outputs.journal import Journal, open_journal

FUZZ = int(os.environ.get("TEST_FUZZ", "60"))
MADE = {"model_sha256": "0" * 64}
DIMENSIONS = 8


def batches(count: int) -> list[tuple[list[np.ndarray], np.ndarray]]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        size = int(rng.integers(1, 9))
        sequences = [rng.integers(0, 9, rng.integers(1, 50)).astype(np.int32) for _ in range(size)]
        found.append((sequences, rng.standard_normal((size, DIMENSIONS)).astype(np.float32)))
    return found


BATCHES = batches(60)


def journal_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.jlocal-journal")


def fill(output: Path) -> Path:
    """Make a journal of a run that failed."""

    def fail(journal: Journal) -> None:
        for sequences, vectors in BATCHES:
            journal.keep(sequences, vectors)
        raise TypeError

    with (
        pytest.raises(TypeError),
        open_journal(output, MADE, DIMENSIONS, lambda _: None) as journal,
    ):
        fail(journal)
    return journal_of(output)


def look(output: Path, notes: list[str], made=MADE, dimensions=DIMENSIONS) -> int:
    """Count the batches that are there, see that each is right, and that writing goes on."""
    with open_journal(output, made, dimensions, notes.append) as journal:
        found = 0
        for sequences, vectors in BATCHES:
            rows = journal.recall(sequences)
            if rows is not None:
                assert rows.tobytes() == vectors.tobytes()
                found += 1
        for sequences, vectors in BATCHES[:9]:
            journal.keep(sequences, vectors)
    assert not journal_of(output).exists()
    return found


def test_a_batch_is_found_by_all_that_it_depends_on(tmp_path: Path) -> None:
    output = tmp_path / "v.npy"
    path = fill(output)
    data = path.read_bytes()
    assert look(output, []) == len(BATCHES)
    path.write_bytes(data)
    assert look(output, [], {"model_sha256": "1" * 64}) == 0
    path.write_bytes(data)
    assert look(output, [], dimensions=4) == 0
    path.write_bytes(data)
    with open_journal(output, MADE, DIMENSIONS, lambda _: None) as journal:
        a, b = next(sequences for sequences, _ in BATCHES if len(sequences) > 1)[:2]
        assert journal.recall([a]) is None
        assert journal.recall([np.concatenate([a, b])]) is None
        assert journal.recall([b, a]) is None


@pytest.mark.slow
def test_hostile_journals(tmp_path: Path) -> None:
    output = tmp_path / "v.npy"
    path = fill(output)
    good = path.read_bytes()
    rng = random.Random(int(os.environ.get("TEST_SEED", "0")))
    notes: list[str] = []
    found: list[int] = []
    refused: list[str] = []

    def see(data: bytes) -> None:
        path.write_bytes(data)
        try:
            found.append(look(output, notes))
        except OutputError as error:
            refused.append(str(error))
            path.unlink()

    for size in (1, 100, 100_000):
        see(rng.randbytes(size))
        see(good[:100] + rng.randbytes(size))
        see(good + rng.randbytes(size))
        see(b"\xff" * size)
    for _ in range(FUZZ // 4):
        see(good[: rng.randrange(len(good))])
    for _ in range(FUZZ):
        bad = bytearray(good)
        for _ in range(rng.choice((1, 3, 30))):
            bad[rng.randrange(len(bad) if rng.random() < 0.7 else 4096)] = rng.choice((0, 255, 129))
        see(bytes(bad))
    assert len(notes) > FUZZ / 4
    # What SQLite takes for a file of a later version, for example.
    assert len(refused) <= FUZZ / 20
    assert all(message.endswith("; remove it to start again") for message in refused)
    assert set(notes) == {f"{path} is damaged, and is started again."}
    assert found.count(len(BATCHES)) < len(found) - FUZZ / 4


@pytest.mark.slow
def test_hostile_rows(tmp_path: Path) -> None:
    """A sound SQLite file whose content is not what we wrote."""
    output = tmp_path / "v.npy"
    path = fill(output)
    good = path.read_bytes()
    for change in (
        "UPDATE wave SET vectors = zeroblob(length(vectors))",
        "UPDATE wave SET vectors = zeroblob(CASE rowid WHEN 1 THEN 50000000 ELSE 9 END)",
        "UPDATE wave SET vectors = 7, checksum = 'x'",
        "UPDATE wave SET vectors = CAST(vectors AS TEXT)",
        "UPDATE OR IGNORE wave SET vectors = (SELECT vectors FROM wave ORDER BY rowid DESC)",
        "DELETE FROM wave",
    ):
        path.write_bytes(good)
        connection = sqlite3.connect(path)
        connection.execute(change)
        connection.commit()
        connection.close()
        assert look(output, []) <= 1
    for change in (
        "CREATE TABLE more (x)",
        "CREATE TRIGGER t AFTER INSERT ON wave BEGIN DELETE FROM wave; END",
        "DROP TABLE wave",
        "CREATE VIEW v AS SELECT 1",
    ):
        path.write_bytes(good)
        connection = sqlite3.connect(path)
        connection.execute(change)
        connection.commit()
        connection.close()
        notes: list[str] = []
        assert look(output, notes) == 0
        assert len(notes) == ("DROP" not in change)


@pytest.mark.slow
def test_the_log_of_a_killed_run_may_be_torn(tmp_path: Path) -> None:
    """SQLite checks the frames of its log; whole ones before a torn one count."""
    code = (
        "import os, sys\nsys.path[:0] = ['tests', 'tests/outputs']\n"
        "from test_journal_file import *\n"
        "with open_journal(Path(sys.argv[1]), MADE, DIMENSIONS, print) as journal:\n"
        "    for batch in BATCHES: journal.keep(*batch)\n"
        "    os._exit(0)\n"
    )
    root = Path(__file__).resolve().parents[2]
    output = tmp_path / "v.npy"
    subprocess.run([sys.executable, "-c", code, output], cwd=root, check=True)
    path = journal_of(output)
    log = path.with_name(f"{path.name}-wal")
    parts = path.read_bytes(), log.read_bytes()
    assert look(output, []) == len(BATCHES)
    rng = random.Random(1)
    found = []
    for number in range(30):
        torn = parts[1][: rng.randrange(len(parts[1]))]
        path.write_bytes(parts[0])
        log.write_bytes(torn if number % 2 else torn + rng.randbytes(5000))
        found.append(look(output, []))
        assert not log.exists()
    assert min(found) < len(BATCHES) / 2 < max(found)


def test_what_is_in_the_way(tmp_path: Path) -> None:
    output = tmp_path / "v.npy"
    precious = tmp_path / "precious.db"
    sqlite3.connect(precious).execute("CREATE TABLE x (y)").connection.close()
    before = precious.read_bytes()

    def nothing(output: Path) -> None:
        with open_journal(output, MADE, DIMENSIONS, lambda _: None):
            raise AssertionError

    for make, undo in (
        (lambda path: path.mkdir(), Path.rmdir),
        (lambda path: os.mkfifo(path), Path.unlink),
        (lambda path: path.symlink_to(precious), Path.unlink),
        (lambda path: path.symlink_to("nowhere"), Path.unlink),
    ):
        make(journal_of(output))
        with pytest.raises(OutputError, match="not a regular file; remove it"):
            nothing(output)
        undo(journal_of(output))
    assert precious.read_bytes() == before
    with pytest.raises(OutputError, match=r"cannot write .*No such file"):
        nothing(tmp_path / "no" / "v.npy")
    with pytest.raises(OutputError, match="is a folder"):
        nothing(Path("/"))
