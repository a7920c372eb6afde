"""Collections as files of other programs, which are asked."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from jlocal import Collection, Embedder, OutputError
from jlocal.collection.export import export, open_rows
from jlocal.collection.llm import export_to_llm
from jlocal.errors import CollectionError
from jlocal.inputs.documents import Unreadable
from support.collection_files import by_hand, rows
from support.memory import peak_memory
from support.texts import AWKWARD, prose

COLUMNS = ("path", "page", "first_line", "last_line", "text")


@pytest.fixture(scope="module")
def model(other_model_file: Path) -> Embedder:
    with Embedder(other_model_file) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with long files, awkward texts, one line of many chunks, and records."""
    root = tmp_path_factory.mktemp("notes")
    for number in range(3):
        (root / f"{number}.md").write_text("\n".join(prose(12, line) for line in range(30)))
    (root / "twin.md").write_bytes((root / "0.md").read_bytes())
    (root / 'a,"b"\n.txt').write_text("an awkward name")
    (root / "one line.txt").write_text(prose(300, 5))
    for number, text in enumerate(AWKWARD.values()):
        if text.strip() and "\0" not in text:
            (root / f"awkward {number}.txt").write_text(text, newline="")
    records = [{"text": f"{prose(60, number)}\n\n\n\n{prose(60, 9)}"} for number in range(4)]
    records.append({"text": "NUL \0 inside"})
    (root / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    return root


@pytest.fixture(scope="module")
def database(folder: Path, model: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "notes.db"
    with Collection(path, model) as collection:
        report = collection.index(folder, chunk=48, fields=["text"])
    assert report.failed == 0
    return path


@pytest.fixture(scope="module")
def standing(database: Path) -> list[tuple]:
    """Return what the file says of each passage where it stands: columns, text and vector."""
    return [
        (row[0], None, row[5], row[6], row[9], np.frombuffer(row[8], "<f4"))
        for row in rows(database)
        if len(row) > 1
    ]


def jlocal(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jlocal", *map(str, arguments)],
        capture_output=True, text=True, check=False, encoding="utf-8",
    )  # fmt: skip


def read(path: Path) -> tuple[list[str], list[tuple], np.ndarray]:
    """Ids, columns and vectors of a file, as another program reads it."""
    if path.suffix == ".jsonl":
        found = [json.loads(line) for line in path.read_text().splitlines()]
        vectors = [row["embedding"] for row in found]
    elif path.suffix == ".csv":
        import pandas

        texts = dict.fromkeys(("id", "path", "text"), str)
        numbers = dict.fromkeys(("page", "first_line", "last_line"), "Int64")
        frame = pandas.read_csv(
            path, dtype=texts | numbers, keep_default_na=False, na_values={"page": [""]}
        )
        vectors = frame.filter(regex="^d[0-9]+$").to_numpy("float32")
        frame = frame[["id", *COLUMNS]].astype(object)
        found = frame.where(frame.notna(), None).to_dict("records")
    else:
        found = pyarrow.parquet.read_table(path).to_pylist()
        vectors = [row["embedding"] for row in found]
    columns = [tuple(row[name] for name in COLUMNS) for row in found]
    return [row["id"] for row in found], columns, np.array(vectors, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_tables(format: str, database: Path, standing, tmp_path: Path) -> None:
    done = jlocal("export", "-d", database, "-o", tmp_path / f"v.{format}")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Wrote {len(standing)} vectors to {tmp_path / f'v.{format}'}\n"
    ids, columns, vectors = read(tmp_path / f"v.{format}")
    assert columns == [row[:-1] for row in standing]
    assert (vectors == np.stack([row[-1] for row in standing])).all()
    assert len(set(ids)) == len(ids)
    assert all(id.startswith(f"{row[0]}:{row[2]}") for id, row in zip(ids, standing, strict=True))
    assert any(id.endswith("one line.txt:1#3") for id in ids)
    assert [path.name for path in tmp_path.iterdir()] == [f"v.{format}"]


@pytest.mark.slow
def test_arrays_and_metadata(database: Path, standing, tmp_path: Path) -> None:
    for name in ("v.npy", "v.npz", "v.parquet", "v.jsonl"):
        assert jlocal("export", "-q", "-d", database, "-o", tmp_path / name).stderr == ""
    vectors = np.stack([row[-1] for row in standing])
    assert (np.load(tmp_path / "v.npy") == vectors).all()
    with np.load(tmp_path / "v.npz") as archive:
        assert archive["ids"].tolist() == read(tmp_path / "v.jsonl")[0]
        assert (archive["embeddings"] == vectors).all()
        metadata = json.loads(str(archive["metadata"]))
    schema = pyarrow.parquet.read_schema(tmp_path / "v.parquet")
    assert json.loads(schema.metadata[b"jlocal"]) == metadata
    assert metadata["prompt"] == "Document: "
    assert (metadata["dimensions"], metadata["chunk"]) == (vectors.shape[1], 48)
    assert len(metadata["model_sha256"]) == 64


@pytest.mark.slow
def test_standard_output(database: Path, tmp_path: Path) -> None:
    done = jlocal("export", "-d", database, "-o", "-")
    export(database, tmp_path / "v.jsonl", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "v.jsonl").read_text()


def test_pages_have_numbers_and_no_lines(tmp_path: Path) -> None:
    path = by_hand(
        tmp_path / "hand.db",
        ("/a.html", ["x", "y"]),
        ("/b.pdf", ["one", "two"]),
        ("/c.txt", ["z", "w"]),
    )
    with open_rows(path) as (_, found):
        assert [(row.id, *list(row.columns.values())[1:]) for row in found] == [
            ("/a.html", None, None, None),
            ("/a.html#2", None, None, None),
            ("/b.pdf p. 1", 1, None, None),
            ("/b.pdf p. 2", 2, None, None),
            ("/c.txt:1", None, 1, 1),
            ("/c.txt:1#2", None, 1, 1),
        ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "hand.db", ("/a.txt", ["x"]), ("/b\udcff.txt", ["y"]))
    for format in ("npy", "npz", "jsonl"):
        assert export(path, tmp_path / f"v.{format}", format) == 2
    assert read(tmp_path / "v.jsonl")[1][1][0] == "/b\udcff.txt"
    assert np.load(tmp_path / "v.npz")["ids"].tolist() == ["/a.txt:1", "/b\udcff.txt:1"]
    for format in ("csv", "parquet"):
        with pytest.raises(OutputError, match=r"is not UTF-8, which .* cannot hold"):
            export(path, tmp_path / f"v.{format}", format)
        assert not (tmp_path / f"v.{format}").exists()
    with pytest.raises(OutputError, match="not UTF-8, which a database of llm"):
        export_to_llm(path, tmp_path / "llm.db", "notes")
    assert not (tmp_path / "llm.db").exists()
    failures: list[Unreadable] = []
    for format in ("csv", "parquet"):
        assert export(path, tmp_path / f"v.{format}", format, on_failure=failures.append) == 1
    assert export_to_llm(path, tmp_path / "llm.db", "notes", failures.append) == 1
    assert [failure.id for failure in failures] == ["/b\udcff.txt:1"] * 3
    only = by_hand(tmp_path / "only.db", ("/b\udcff.txt", ["y"]))
    with pytest.raises(OutputError, match="no row could be written"):
        export(only, tmp_path / "only.csv", "csv", on_failure=failures.append)
    assert not (tmp_path / "only.csv").exists()
    done = jlocal("export", "-d", path, "-o", tmp_path / "v.csv")
    assert done.returncode == 1
    assert "Not written: /b\ufffd.txt:1: its id is not UTF-8" in done.stderr
    assert "Error: 1 of 2 vectors were not written." in done.stderr
    assert read(tmp_path / "v.csv")[0] == ["/a.txt:1"]


def export_to_new_llm(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    export_to_llm(path, target, "notes")


@pytest.mark.slow(times=3)
def test_memory_does_not_grow_with_the_collection(tmp_path: Path) -> None:
    documents = [(f"/{n}.txt", [f"{n} " + "long " * 20_000]) for n in range(300)]
    path = by_hand(tmp_path / "hand.db", *documents)
    # 30 MB of text; a row is held in several copies.
    for name in ("csv", "jsonl", "npy"):
        assert peak_memory(export, path, tmp_path / f"v.{name}", name) < 3_000_000
    assert peak_memory(export_to_new_llm, path, tmp_path / "llm.db") < 3_000_000


@pytest.mark.slow
def test_mistakes(database: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database" * 100)
    before = hashlib.sha256(database.read_bytes()).digest()
    output, target = tmp_path / "v.npy", tmp_path / "llm.db"
    for arguments, status, message in (
        (["-d", database], 2, "name a file with -o, or"),
        (["-d", database, "-o", output, "--llm", target], 2, "--llm cannot be combined with"),
        (["-d", database, "-o", output, "--name", "x"], 2, "--name works only with --llm"),
        (["-d", database, "--llm", target, "-f", "csv"], 2, "--llm cannot be combined with"),
        (["-d", database, "--llm", target, "--name", ""], 1, "is empty"),
        (["-d", database, "-o", "-", "-f", "csv"], 2, "with -o"),
        (["-d", database, "-o", tmp_path / "v.xyz"], 1, "names no format"),
        (["-d", database, "-o", database, "-f", "jsonl"], 1, "is the collection itself"),
        (["-d", database, "--llm", database], 1, "is not an embeddings database of llm"),
        (["-d", database, "--llm", tmp_path / "text.db"], 1, "of llm: it is not an SQLite file"),
        (["-d", database, "--llm", tmp_path], 1, "is a folder"),
        (["-d", database, "--llm", tmp_path / "no" / "llm.db"], 1, "No such file or directory"),
        (["-d", database, "-o", tmp_path / "no" / "v.npy"], 1, "No such file or directory"),
        (["-d", tmp_path / "no.db", "-o", output], 1, "no such file"),
        (["-d", tmp_path / "empty.db", "-o", output], 1, "jlocal index"),
        (["-d", tmp_path / "text.db", "-o", output], 1, "is not a collection of jlocal"),
    ):
        done = jlocal("export", *arguments)
        assert done.returncode == status, done.stderr
        assert message in done.stderr
        assert done.stdout == ""
        assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "text.db"]
    assert hashlib.sha256(database.read_bytes()).digest() == before


def test_a_damaged_vector(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "hand.db", ("/a.txt", ["x"]))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE passage SET vector = zeroblob(12)")
    connection.commit()
    connection.close()
    with pytest.raises(CollectionError, match="damaged"):
        export(path, tmp_path / "v.npy", "npy")


def test_csv_module_reads_it_too(database: Path, standing, tmp_path: Path) -> None:
    export(database, tmp_path / "v.csv", "csv")
    csv.field_size_limit(1 << 30)
    with (tmp_path / "v.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(line.replace("\0", "?") for line in file))
    assert [row["path"] for row in found] == [row[0] for row in standing]
