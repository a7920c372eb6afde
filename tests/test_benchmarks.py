"""The benchmarks run, and say what they measured; figures of models this small mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def run(script, folder, output, *options):
    command = [sys.executable, BENCHMARKS / script, "--model", "tiny", "--rounds", "1"]
    return subprocess.run(
        [*command, "--folder", folder, "--output", output, *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_throughput(folder, tmp_path):
    output = tmp_path / "page.md"
    options = ["--types", "Q8_0", "--loads", "4x32", "--peers", "jlocal", "pooled"]
    done = run("throughput.py", folder, output, *options)
    (table,) = json.loads(output.with_suffix(".json").read_text())["throughput"]["tables"].values()
    ours, pooled = table["rows"]
    assert (ours["peer"], pooled["peer"]) == ("jlocal", "pooled")
    assert ours["cosine"] > 0.9999
    assert pooled["times"] == pytest.approx(pooled["seconds"] / ours["seconds"])
    assert ours["tokens_per_second"] == pytest.approx(4 * 32 / ours["seconds"])
    assert "| jlocal | " in done.stdout
    assert done.stdout.strip() in output.read_text()


def test_lines(folder, tmp_path):
    output = tmp_path / "page.md"
    run("lines.py", folder, output, "--lines", "300", "900")
    whole, outside = json.loads(output.with_suffix(".json").read_text())["lines"]["tables"].values()
    assert [row["texts"] for row in whole["rows"]] == [300, 900]
    assert outside["rows"][0]["texts"] == 300


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")
def test_endurance():
    options = ["--opened", "8", "--texts", "16", "--searches", "8"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "endurance.py", "--model", "starter", *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [line[0] for line in lines if line[1] == "texts"] == [*map(str, range(2, 17, 2))]
    assert all("MB" in line and "descriptors" in line and "threads" in line for line in lines)


@pytest.mark.skipif(
    not any(Path("/usr/share/locale/de").glob("LC_MESSAGES/*.mo")), reason="it reads translations"
)
def test_encodings():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "encodings.py", "--each", "1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 24
    assert all("right, wrong, refused" in line for line in lines)
