"""Vectors to files."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from jlocal import OutputError
from jlocal.writers import FORMATS, JsonLines, Writer, format_of, open_writer

VECTORS = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32)


def write(path: Path, format: str, vectors: np.ndarray) -> None:
    with open_writer(path, format, {"model": "ü"}) as writer:
        for number, vector in enumerate(vectors):
            writer.add(f"id {number}", vector)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
@pytest.mark.parametrize("count", [1, 9, 10, 1000])
def test_npy(dtype: str, count: int, tmp_path: Path) -> None:
    vectors = (VECTORS[:count] * 9).astype(dtype)
    write(tmp_path / "v.npy", "npy", vectors)
    read = np.load(tmp_path / "v.npy", allow_pickle=False)
    assert read.dtype == vectors.dtype
    assert (read == vectors).all()


def test_npz(tmp_path: Path) -> None:
    write(tmp_path / "v.npz", "npz", VECTORS)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as read:
        assert (read["embeddings"] == VECTORS).all()
        assert read["ids"].tolist() == [f"id {number}" for number in range(1000)]
        assert json.loads(str(read["metadata"])) == {"model": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]


def test_jsonl_gives_every_bit_back(tmp_path: Path) -> None:
    write(tmp_path / "v.jsonl", "jsonl", VECTORS)
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"id {number}" for number in range(1000)]
    assert (np.array([line["embedding"] for line in lines], np.float32) == VECTORS).all()


@pytest.mark.parametrize("id", ['quote"', "line\nbreak", "naïve/é.md", "\udcff", "\0"])
def test_json_ids(id: str) -> None:
    buffer = io.BytesIO()
    JsonLines(buffer).add(id, np.array([1, -2], np.int8))
    assert json.loads(buffer.getvalue()) == {"id": id, "embedding": [1, -2]}


def write_one_and_fail(writer: Writer) -> None:
    writer.add("a", VECTORS[0])
    raise TypeError


@pytest.mark.parametrize("format", FORMATS)
def test_a_failed_run_leaves_nothing_and_keeps_what_was_there(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"v.{format}"
    path.write_text("before")
    with pytest.raises(TypeError), open_writer(path, format, {}) as writer:
        write_one_and_fail(writer)
    assert path.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_bad_targets(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"), open_writer(tmp_path, "npy", {}):
        pass
    with pytest.raises(OutputError, match="No such"), open_writer(tmp_path / "a/b", "npy", {}):
        pass
    with pytest.raises(OutputError, match="-f"):
        format_of(Path("vectors.bin"))
    assert format_of(Path("V.NPZ")) == "npz"


def test_links_stay_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real.npy").write_text("before")
    (tmp_path / "link.npy").symlink_to("real.npy")
    write(tmp_path / "link.npy", "npy", VECTORS)
    assert (tmp_path / "link.npy").is_symlink()
    assert (np.load(tmp_path / "real.npy") == VECTORS).all()
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(OutputError, match="regular"),
        open_writer(tmp_path / "pipe", "npy", {}),
    ):
        pass
    assert (tmp_path / "pipe").is_fifo()
