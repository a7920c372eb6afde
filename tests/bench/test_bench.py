"""`jlocal bench`: real measurements of small models, for people and for programs."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jlocal import Embedder
from jlocal.bench import measure
from jlocal.bench.report import LENGTHS, Measurement, Speed, recommend
from jlocal.bench.run import _exit_message
from jlocal.bench.texts import make_texts
from jlocal.llama.kernels import kernels
from support.gguf_files import patch

RUN = [sys.executable, "-m", "jlocal", "bench", "--seconds", "0.1"]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def bench(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUN, *map(str, arguments)],
            env={**os.environ, **environment},
            capture_output=True, encoding="utf-8", cwd=tmp_path, check=False,
        )  # fmt: skip

    return bench


@pytest.fixture(scope="module")
def without_pooling(converted, tmp_path_factory) -> Path:
    """Return a file whose header is in order, and that cannot be loaded for embeddings."""
    path = tmp_path_factory.mktemp("bench") / "headless.gguf"
    patch(converted("qwen3"), path, "qwen3.pooling_type", 3, 0)
    return path


@pytest.mark.slow
def test_a_table_and_a_recommendation(run, converted) -> None:
    files = [converted("qwen3", kind=kind) for kind in ("F32", "Q8_0")]
    done = run(*files)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "-retrieval-" in line][:2]
    for row, file in zip(rows, files, strict=True):
        assert row[0].endswith(file.stem[-10:])
        assert row[1] == f"{file.stat().st_size / 1e6:,.0f}"
        assert len(row) == 9
    assert rows[0][-1] == "-"
    assert 0.99 < float(rows[1][-1]) <= 1
    assert "is the fastest here at texts of 256 tokens: 1,000 take about " in " ".join(lines)
    assert any(line.startswith("* from one round only") for line in lines) == ("*" in str(rows))


@pytest.mark.slow
@pytest.mark.skipif(not kernels().families, reason=f"no kernels: {kernels().reason}")
def test_every_compute_type_is_measured_and_one_is_recommended(run, converted) -> None:
    file = converted("qwen3", kind="Q8_0")
    report = json.loads(run(file, "--every-type", "--json").stdout)
    names = [f"{file.stem} {kind}" for kind in ("stored", "bfloat16", "int8")]
    assert [model["name"] for model in report["models"]] == names
    for model in report["models"]:
        assert model["name"].endswith(f" {model['compute_type']}")
    assert all(0.99 < model["cosine"] <= 1 for model in report["models"][1:])
    assert any(name in report["recommendation"] for name in names)
    report = json.loads(run(file, "--every-type", "--json", JLOCAL_KERNELS="0").stdout)
    assert [model["name"] for model in report["models"]] == names[:1]


@pytest.mark.slow
def test_json_has_consistent_figures(run, converted) -> None:
    files = [converted("qwen3", kind="F32"), converted("qwen3", kind="F16"), converted("eurobert")]
    done = run("--json", "--threads", 1, *files)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["machine"]["threads"] == 1
    assert report["machine"]["cpu"]
    assert "CPU : " in report["machine"]["system_info"]
    for model, file in zip(report["models"], files, strict=True):
        assert model["file"] == str(file)
        assert model["bytes"] == file.stat().st_size
        assert 0 < model["load_seconds"] < model["first_vector_seconds"]
        assert model["peak_bytes"] > 50e6
        assert {name: speed["length"] for name, speed in model["speeds"].items()} == LENGTHS
        for speed in model["speeds"].values():
            assert speed["seconds"] == statistics.median(speed["rounds"])
            assert speed["tokens_per_second"] == speed["tokens"] / speed["seconds"]
            assert 0.9 < speed["tokens"] / (speed["texts"] * speed["length"]) <= 1
    first, same, other = report["models"]
    assert (first["cosine"], first["no_cosine"]) == (None, "it is the first")
    assert 0.99 < same["cosine"] <= 1
    assert (other["cosine"], other["no_cosine"]) == (
        None, "architecture: eurobert, not qwen3 as in the first",
    )  # fmt: skip
    assert "with " + first["name"] in report["recommendation"]


@pytest.mark.slow
def test_one_model_from_the_environment(run, converted) -> None:
    done = run(JLOCAL_MODEL=str(converted("qwen3")))
    assert (done.returncode, done.stderr) == (0, "")
    last = " ".join(done.stdout.split("\n\n")[-1].split())
    assert last.startswith("1,000 texts of 256 tokens take about ")


@pytest.mark.slow
def test_a_small_context(run, converted, tmp_path: Path) -> None:
    patch(converted("qwen3"), tmp_path / "short.gguf", "qwen3.context_length", 32_768, 200)
    done = run("short.gguf", "--json")
    (model,) = json.loads(done.stdout)["models"]
    assert [speed["length"] for speed in model["speeds"].values()] == [32, 200, 200]
    done = run("short.gguf", "short.gguf")
    assert done.returncode == 0
    assert "short: its longest texts have 200 tokens" in done.stdout


@pytest.mark.slow
def test_a_broken_file_is_found_before_anything_is_measured(run, converted, tmp_path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\3\0\0\0")
    for bad, message in (("broken.gguf", "middle of the header"), ("no.gguf", "no such file")):
        done = run(converted("qwen3"), bad)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        assert message in line


@pytest.mark.slow
def test_a_failure_does_not_hide_the_others(run, converted, without_pooling) -> None:
    done = run(without_pooling, converted("qwen3"))
    assert done.returncode == 1
    assert "take about" in done.stdout
    failure, error = done.stderr.splitlines()
    assert failure.startswith(f"Not measured: {without_pooling}: ")
    assert "names no pooling" in failure
    assert error == "Error: 1 of 2 models could not be measured"
    done = run(without_pooling, converted("qwen3"), "--json")
    bad, good = json.loads(done.stdout)["models"]
    assert "names no pooling" in bad["reason"]
    assert good["no_cosine"] == "it is the first"
    assert done.returncode == 1
    done = run(without_pooling)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")


def children(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in path.read_text().split()]


@pytest.fixture
def measuring(converted) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a run that takes long; give it, and the process that it measures in."""
    if not Path("/proc/self/task").exists():
        pytest.skip("needs Linux's /proc")
    command = [*RUN[:-1], "600", converted("qwen3")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not children(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        (child,) = children(process)
        maps = Path(f"/proc/{child}/maps")
        while "libllama" not in maps.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield process, child
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_leaves_no_process(measuring, stop: int, status: int) -> None:
    process, child = measuring
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does it: to every process of the group
    else:
        process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, b"")
    assert err.strip() == (b"Interrupted." if status == 130 else b"")
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.slow
def test_a_process_that_dies_is_reported(measuring) -> None:
    process, child = measuring
    os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, b"")
    assert err.decode() == (
        "Error: the process that measured it was ended by SIGKILL, as when memory runs out\n"
    )


def test_the_last_words_of_a_process() -> None:
    """Python says last what went wrong; llama.cpp says it first, and then where."""
    python = _exit_message(1, "Traceback (most recent call last):\n  line 1\nMemoryError\n")
    assert python.endswith("ended with status 1: MemoryError")
    abort = _exit_message(-signal.SIGABRT, "ggml.c:1: GGML_ASSERT(x) failed\n0x0\n0x1\n")
    assert abort.endswith("ended by SIGABRT: ggml.c:1: GGML_ASSERT(x) failed")


@pytest.mark.slow
def test_rounds(converted) -> None:
    with Embedder(converted("qwen3")) as model:
        for seconds, rounds in ((-1.0, 1), (600.0, 5)):
            steps: list[str] = []
            speed = measure._measure_speed(model, 256, seconds, steps.append, 0.02)
            assert len(speed.rounds) == rounds
            assert steps[0] == "256 tokens, warming up"
            assert steps[1:] == [f"256 tokens, round {n}" for n in range(1, rounds + 1)]
            assert speed.texts >= 2
    assert Speed(32, 10, 300, (9.0, 1.0, 2.0)).tokens_per_second == 150


@pytest.mark.slow
def test_texts_differ_and_have_the_length(converted) -> None:
    with Embedder(converted("eurobert")) as model:
        for length, count in ((32, 200), (256, 8)):
            texts = make_texts(model, length, count)
            assert texts == make_texts(model, length, count)
            assert len(set(texts)) == count
            prompt = model.prompt_text(None, None)
            lengths = [len(model.tokenize(text, prompt)) for text in texts]
            assert max(lengths) == length
            assert min(lengths) > length - 5


def model_of(name: str, seconds: float, peak: int | None, cosine: float | None) -> Measurement:
    speeds = {key: Speed(256, 10, 2560, (seconds,)) for key in LENGTHS}
    return Measurement(
        Path(name), name, speeds, cosine, None, 0, 1.0, 2.0, peak, "stored", ()
    )  # fmt: skip


def test_recommendations() -> None:
    full = model_of("full", 2.0, 1_000_000_000, None)
    near = model_of("near", 1.0, 600_000_000, 0.99987)
    small = model_of("small", 4.0, 500_000_000, 0.9995)
    far = model_of("far", 0.1, 100_000_000, 0.95)
    other = model_of("other", 0.5, None, None)
    assert recommend([full]) == (
        "1,000 texts of 256 tokens take about 3.3 min here, with 1,000 MB of memory."
    )
    assert recommend([full, near]) == (
        "near is the fastest here at texts of 256 tokens: 1,000 take about 100 s, with 600 MB of "
        "memory. Beside full, near has 2.00 times its speed, 0.60 times its memory and a "
        "least cosine of 0.99987."
    )
    assert recommend([full, small, far]) == (
        "Among files whose vectors have a cosine of 0.999 or more with full's, full is the "
        "fastest here at texts of 256 tokens: 1,000 take about 3.3 min, with 1,000 MB of memory. "
        "Beside full, small has 0.50 times its speed, 0.50 times its memory and a least "
        "cosine of 0.99950."
    )
    assert recommend([full, other]).startswith(
        "Vectors of different models do not compare, but speed does: other is the fastest here"
    )
