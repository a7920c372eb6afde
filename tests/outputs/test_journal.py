"""Runs that are killed go on, and end with the bytes of one that was not.

TEST_KILLS=100 TEST_LINES=20000 pytest -s tests/outputs/test_journal.py does it at full length, and
TEST_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder
from jlocal.outputs.journal import Journal, open_journal
from support.disks import disk_of
from support.texts import AWKWARD, prose

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TEST_KILLS", "12"))
LINES = int(os.environ.get("TEST_LINES", "800"))
FORMATS = ("npy", "npz", "jsonl", "csv", "parquet")


@pytest.fixture(scope="module")
def model(converted) -> Path:
    return converted("qwen3", "retrieval", "F32")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of lines of all lengths, some of them equal, some that cannot be embedded."""
    rng = random.Random(0)
    texts = [prose(rng.choice((1, 3, 10, 60, 200)), number % 600) for number in range(LINES)]
    awkward = [text for text in AWKWARD.values() if "\n" not in text and "\r" not in text]
    for number, text in enumerate(awkward):
        texts[number * 7 % LINES] = text
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_bytes(b"\n".join(text.encode() for text in texts) + b"\n\xff\nlast\n")
    return path


def start(lines: Path, model: Path, output: Path, *options: object) -> subprocess.Popen[str]:
    command = ["embed", "-i", lines, "-m", model]
    return subprocess.Popen(
        [sys.executable, "-m", "jlocal", *command, "-o", output, *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(lines: Path, model: Path, output: Path, *options: object) -> tuple[int, list[str]]:
    process = start(lines, model, output, *options)
    _, stderr = process.communicate()
    assert "Traceback" not in stderr
    told = [line for line in stderr.splitlines() if not line.startswith("Not embedded: ")]
    return process.returncode, told


def journal_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.jlocal-journal")


def wait_for(journal: Path, process: subprocess.Popen[str], batches: int = 1) -> None:
    """Wait until a journal that another process has locked holds this many batches."""
    log = journal.with_name(f"{journal.name}-wal")
    while process.poll() is None:
        # In a journal that is in use, a batch takes at least two pages.
        if log.exists() and log.stat().st_size > (3 + 2 * batches) * 4096:
            return
        time.sleep(0.005)


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> str:
    process.send_signal(number)
    return process.communicate()[1]


def interrupted(lines: Path, model: Path, output: Path, *options: object) -> None:
    process = start(lines, model, output, *options)
    wait_for(journal_of(output), process, 20)
    kill(process)
    assert process.returncode == -signal.SIGKILL
    assert journal_of(output).exists()
    assert not output.exists()


def reused(told: Sequence[str]) -> tuple[int, int]:
    found = re.search(r"^([\d,]+) of ([\d,]+) vectors were taken", "\n".join(told), re.MULTILINE)
    return tuple(int(number.replace(",", "")) for number in found.groups()) if found else (0, 0)


@pytest.fixture(scope="module")
def seconds() -> list[float]:
    """Return how long the runs took that nothing disturbed."""
    return []


@pytest.fixture(scope="module")
def clean(
    lines: Path, model: Path, seconds: list[float], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Format -> what a run writes that nothing disturbs."""
    folder = tmp_path_factory.mktemp("clean")
    for format in FORMATS:
        start = time.monotonic()
        status, told = run(lines, model, folder / f"v.{format}")
        seconds.append(time.monotonic() - start)
        assert status == 1
        assert told[0] == f"Error: 2 of {LINES + 2:,} inputs were not embedded."
        assert told[1] == f"Wrote {LINES:,} vectors to {folder / f'v.{format}'}"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"v.{f}" for f in FORMATS)
    return {format: (folder / f"v.{format}").read_bytes() for format in FORMATS}


def test_killed_at_any_moment(
    lines: Path, model: Path, clean, seconds: list[float], tmp_path: Path
) -> None:
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)
    kills, counts = 0, []
    for number in range(10 * KILLS):
        format = FORMATS[number % len(FORMATS)]
        output = tmp_path / f"v.{format}"
        process = start(lines, model, output)
        if rng.random() < 0.8:
            wait_for(journal_of(output), process)
        try:
            # The part of a run that comes after its first batch.
            process.wait(rng.uniform(0, 0.6 * min(seconds)))
        except subprocess.TimeoutExpired:
            kill(process)
            kills += 1
            continue
        _, stderr = process.communicate()
        assert process.returncode == 1, stderr
        assert output.exists(), stderr
        counts.append(reused(stderr.splitlines()))
        assert output.read_bytes() == clean[format]
        output.unlink()
        if kills >= KILLS:
            break
    for format in FORMATS:
        output = tmp_path / f"v.{format}"
        _, told = run(lines, model, output)
        counts.append(reused(told))
        assert output.read_bytes() == clean[format]
    sys.stdout.write(f"{kills} kills; taken from earlier runs: {counts}\n")
    assert kills >= KILLS
    assert max(counts) > (0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"v.{f}" for f in FORMATS)


def test_only_the_rest_is_computed(lines: Path, model: Path, clean, tmp_path: Path) -> None:
    output = tmp_path / "v.npy"
    interrupted(lines, model, output)
    status, told = run(lines, model, output, "-t", 1)
    resumed, total = reused(told)
    assert (status, total) == (1, LINES)
    assert 0 < resumed < total
    assert output.read_bytes() == clean["npy"]
    # The vectors are kept in full: what is made of them may change.
    interrupted(lines, model, output.with_name("w.npy"))
    _, told = run(lines, model, tmp_path / "w.npy", "--precision", "int8", "--dimensions", 16)
    assert reused(told)[0] > 0
    assert np.load(tmp_path / "w.npy").shape == (LINES, 16)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_told_so(number: int, lines, model, clean, tmp_path: Path) -> None:
    output = tmp_path / "v.npy"
    process = start(lines, model, output)
    wait_for(journal_of(output), process, 20)
    stderr = kill(process, number)
    assert f"is kept in {journal_of(output)}; the same command goes on from there." in stderr
    assert [path.name for path in tmp_path.iterdir()] == [journal_of(output).name]
    assert reused(run(lines, model, output)[1])[0] > 0
    assert output.read_bytes() == clean["npy"]


@pytest.mark.parametrize(
    ("other", "options"),
    [
        (("eurobert", "retrieval", "F32"), ()),
        (("qwen3", "retrieval", "Q8_0"), ()),
        (("qwen3", "clustering", "F32"), ()),
        (("qwen3", "retrieval", "F32"), ("--prompt", "query")),
    ],
)
def test_a_journal_of_other_vectors(
    other, options, lines: Path, model: Path, converted, tmp_path: Path
) -> None:
    """Another model in the place of the first one included, as old and as large as that."""
    here = tmp_path / "model.gguf"
    shutil.copy2(model, here)
    output, fresh = tmp_path / "v.npy", tmp_path / "fresh.npy"
    interrupted(lines, here, output)
    times = here.stat()
    shutil.copyfile(converted(*other), here)
    os.utime(here, ns=(times.st_atime_ns, times.st_mtime_ns))
    _, told = run(lines, here, output, *options)
    assert reused(told) == (0, LINES)
    run(lines, here, fresh, *options)
    assert output.read_bytes() == fresh.read_bytes()


def test_changed_inputs(lines: Path, model: Path, tmp_path: Path) -> None:
    changed, output, fresh = tmp_path / "l.txt", tmp_path / "v.npy", tmp_path / "fresh.npy"
    shutil.copyfile(lines, changed)
    interrupted(changed, model, output)
    texts = lines.read_bytes().split(b"\n")
    texts[3], texts[100:102] = b"something else", texts[101:99:-1]
    changed.write_bytes(b"\n".join(texts))
    run(changed, model, output)
    run(changed, model, fresh)
    assert output.read_bytes() == fresh.read_bytes()


def test_a_folder_does_not_hold_its_own_journal(model: Path, tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"{number}.txt").write_text(prose(200, number))
    output = tmp_path / "v.npy"
    interrupted_in = [sys.executable, "-m", "jlocal", "embed", tmp_path, "-m", model, "-o", output]
    process = subprocess.Popen(interrupted_in, stderr=subprocess.PIPE, text=True)
    wait_for(journal_of(output), process, 5)
    kill(process)
    assert journal_of(output).exists()
    done = subprocess.run(interrupted_in, capture_output=True, text=True, check=True)
    assert done.stderr.startswith(tuple("123456789"))
    assert np.load(output).shape[0] == 400


def test_two_runs_at_once(lines: Path, model: Path, clean, tmp_path: Path) -> None:
    output = tmp_path / "v.npy"
    (tmp_path / "link.npy").symlink_to("v.npy")
    process = start(lines, model, output)
    wait_for(journal_of(output), process)
    process.send_signal(signal.SIGSTOP)
    for name in ("v.npy", "link.npy"):
        status, told = run(lines, model, tmp_path / name)
        assert status == 1
        assert told == [
            f"Error: another jlocal is writing {tmp_path / name}; run this again when it has "
            "ended, or name another file"
        ]
    process.send_signal(signal.SIGCONT)
    process.communicate()
    assert output.read_bytes() == clean["npy"]
    assert not journal_of(output).exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_of("600k", tmp_path / "disk") as folder:
        yield folder


@pytest.mark.parametrize("format", ["npy", "jsonl", "parquet"])
def test_a_full_disk(format: str, lines, model: Path, clean, small_disk: Path) -> None:
    output = small_disk / f"v.{format}"
    status, told = run(lines, model, output)
    assert status == 1
    assert told[0].startswith("What is finished is kept in ")
    assert told[1].startswith("Error: cannot write ")
    assert "No space left on device" in told[1]
    assert len(told) == 2
    # Nothing is lost by trying again in vain.
    status, told = run(lines, model, output)
    assert status == 1
    assert re.match(r"Error: cannot write .*(make room|No space left)", told[-1])
    assert not output.exists()
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert reused(run(lines, model, output)[1])[0] > 0
    assert output.read_bytes() == clean[format]
    assert list(small_disk.iterdir()) == [output]


def test_a_file_that_may_not_grow(lines: Path, model: Path, clean, tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    output = tmp_path / "v.npy"
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", "embed", "-i", lines, "-m", model, "-o", output],
        preexec_fn=limit, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"^Error: cannot write .*\n\Z", done.stderr, re.MULTILINE)
    assert reused(run(lines, model, output)[1])[0] > 0
    assert output.read_bytes() == clean["npy"]


def test_from_python(model: Path, tmp_path: Path) -> None:
    texts = [prose(30, number) for number in range(300)]
    output = tmp_path / "v.npy"

    def some(embedder: Embedder, journal: Journal) -> None:
        for number, _ in enumerate(embedder.stream(texts, journal=journal)):
            if number == 100:
                raise TypeError

    with Embedder(model) as embedder:
        whole = np.stack(list(embedder.stream(texts)))
        with (
            pytest.raises(TypeError),
            open_journal(output, {}, embedder.profile.dimensions, print) as journal,
        ):
            some(embedder, journal)
        with open_journal(output, {}, embedder.profile.dimensions, print) as journal:
            again = np.stack(list(embedder.stream(texts, journal=journal)))
            assert journal.reused >= 64
    assert (again == whole).all()
    assert list(tmp_path.iterdir()) == []
