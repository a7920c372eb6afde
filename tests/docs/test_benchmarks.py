"""The benchmarks run, and say what they measured; figures of models this small mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jlocal.models.starter import FILE

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


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


def test_concurrency():
    options = ["--threads", "8", "--rounds", "1", "--compute-threads", "1"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "concurrency.py", "--model", "starter", *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines[1:]] == [
        "threads", "single", "batches", "ratio", "ratio", "cosine",
    ]  # fmt: skip
    assert 1 <= int(lines[3][1]) <= int(lines[3][3].rstrip(",")) <= 8


def test_waits():
    options = ["--rounds", "1", "--documents", "64", "--long", "1100", "--compute-threads", "1"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "waits.py", "--model", "starter", *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("wait")]
    assert len(lines) == 5
    assert all(0 < float(line[1]) <= float(line[5]) for line in lines)


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


def test_chunking(tmp_path):
    rows = {
        "corpus.jsonl": [
            {"_id": "a", "title": "Disks", "text": "Two pairs are mirrored. " * 20},
            {"_id": "b", "title": "", "text": "The garden needs water in July. " * 20},
            {"_id": "c", "title": "Bread", "text": "Bread The dough rests for an hour. " * 20},
        ],
        "queries.jsonl": [
            {"_id": "1", "text": "how long does dough rest"},
            {"_id": "2", "text": "nobody knows"},
        ],
    }
    for name, lines in rows.items():
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\tc\t2\n2\ta\t0\n")
    options = ["--sizes", "64", "none", "--overlaps", "0", "0.125"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "chunking.py", FILE, tmp_path, *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "3 documents, 1 queries" in done.stdout
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "| " in line]
    assert [line[:3] for line in lines[2:]] == [
        ["64", "0", "no"],
        ["64", "0", "yes"],
        ["64", "8", "no"],
        ["64", "8", "yes"],
        ["none", "0", "no"],
        ["none", "0", "yes"],
    ]
    assert [int(line[3]) for line in lines[2:]] > [6, 6, 6, 6, 2, 2]
    assert all(line[4:6] == ["1.000", "1.000"] for line in lines[2:])


def test_retrieval(tmp_path):
    folder = tmp_path / "sets" / "tiny"
    folder.mkdir(parents=True)
    texts = {"a": "The cat sleeps.", "b": "Shares fell on Monday.", "c": "Bread is baked at night."}
    rows = [json.dumps({"_id": id, "title": "", "text": text}) for id, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "sleeping cats"}))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "retrieval.py", folder.parent],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *_, row = done.stdout.splitlines()
    assert row == "| tiny | 3 | 3 | 1 | 1.0000 | 1.0000 | 1.0000 | +0.0000 |"
