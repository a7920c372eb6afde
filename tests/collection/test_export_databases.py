"""Collections in LanceDB and in Qdrant's local mode: the programs themselves read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder, OutputError
from jlocal.collection.export import open_rows
from jlocal.collection.lancedb import export_to_lancedb
from jlocal.collection.qdrant import export_to_qdrant
from jlocal.errors import ArgumentError, CollectionError, EmptyCollectionError
from support.collection_files import by_hand
from support.texts import AWKWARD

pytestmark = pytest.mark.slow

lancedb = pytest.importorskip("lancedb")
qdrant = pytest.importorskip("qdrant_client")

TEXTS = [text for text in AWKWARD.values() if text.strip()]
NOTES = {
    "backup": "Restic backs up the server each night.",
    "meeting": "The team meets on Tuesday.",
    "cats": "Cats chase mice.",
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    texts = [("/a.md", TEXTS), ("/b.pdf", ["page one", "page two"]), ("/twin.md", TEXTS)]
    return by_hand(tmp_path / "notes.db", *texts)


def expected(database: Path) -> dict[str, tuple[dict, np.ndarray]]:
    with open_rows(database) as (_, rows):
        return {
            row.id: ({"id": row.id, **row.columns, "text": row.text}, row.vector) for row in rows
        }


def in_lancedb(folder: Path, name: str) -> dict[str, tuple[dict, np.ndarray]]:
    rows = lancedb.connect(folder).open_table(name).to_arrow().to_pylist()
    return {row["id"]: (row, np.array(row.pop("vector"), np.float32)) for row in rows}


def in_qdrant(folder: Path, name: str) -> dict[str, tuple[dict, np.ndarray]]:
    client = qdrant.QdrantClient(path=str(folder))
    points, _ = client.scroll(name, limit=10_000, with_vectors=True)
    client.close()
    return {p.payload["id"]: (p.payload, np.array(p.vector, np.float32)) for p in points}


@pytest.mark.parametrize(
    ("export", "read"), [(export_to_lancedb, in_lancedb), (export_to_qdrant, in_qdrant)]
)
def test_every_passage_is_there_once(export, read, database: Path, tmp_path: Path) -> None:
    wanted = expected(database)
    assert export(database, tmp_path / "made", "notes") == len(wanted)
    found = read(tmp_path / "made", "notes")
    assert found.keys() == wanted.keys()
    for id, (columns, vector) in wanted.items():
        assert found[id][0] == columns
        np.testing.assert_allclose(found[id][1], vector, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "notes.db"]


def test_they_find_what_jlocal_finds(starter_files: dict[str, Path], tmp_path: Path) -> None:
    database = tmp_path / "notes.db"
    with Embedder(starter_files["Q8_0"]) as model, Collection(database, model) as collection:
        collection.add(NOTES.values(), ids=list(NOTES))
        for kind in ("lancedb", "qdrant"):
            done = subprocess.run(
                [sys.executable, "-m", "jlocal", "export", "-d", database, f"--{kind}",
                 tmp_path / kind],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
            assert done.stderr == f"Wrote 3 vectors to {tmp_path / kind}\n"
        query = model.encode_query("who hunts rodents?")
        best = [hit.path for hit in collection.search("who hunts rodents?", mode="meaning")]
        table = lancedb.connect(tmp_path / "lancedb").open_table("notes")
        rows = table.search(query).distance_type("cosine").limit(3).to_list()
        assert [row["path"] for row in rows] == best
        client = qdrant.QdrantClient(path=str(tmp_path / "qdrant"))
        points = client.query_points("notes", query=query.tolist(), limit=3).points
        assert [point.payload["path"] for point in points] == best
        made = json.loads(table.schema.metadata[b"jlocal"])
        assert client.get_collection("notes").config.metadata == made
        assert made["model_sha256"] == collection.config.model_sha256
        client.close()


def test_a_path_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "hand.db", ("/a.txt", ["x"]), ("/b\udcff.txt", ["y"]))
    for export in (export_to_lancedb, export_to_qdrant):
        with pytest.raises(OutputError, match="its path is not UTF-8, which"):
            export(path, tmp_path / "made", "notes")
        failures = []
        assert export(path, tmp_path / export.__name__, "notes", failures.append) == 1
        assert [failure.id for failure in failures] == ["/b\udcff.txt:1"]
    assert not (tmp_path / "made").exists()
    assert in_lancedb(tmp_path / "export_to_lancedb", "notes").keys() == {"/a.txt:1"}


def test_what_is_there_already_stays(database: Path, tmp_path: Path) -> None:
    export_to_lancedb(database, tmp_path / "lance", "notes")
    with pytest.raises(OutputError, match="has a table 'notes' already; choose another with name="):
        export_to_lancedb(database, tmp_path / "lance", "notes")
    export_to_lancedb(database, tmp_path / "lance", "other")
    assert in_lancedb(tmp_path / "lance", "notes").keys() == expected(database).keys()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "meta.json").write_text("a stranger's pickles may be beside it")
    for target in ("file", "folder"):
        with pytest.raises(OutputError, match="exists already; name a new folder"):
            export_to_qdrant(database, tmp_path / target, "notes")
    (tmp_path / "empty").mkdir()
    assert export_to_qdrant(database, tmp_path / "empty", "notes")
    with pytest.raises(OutputError, match=r"cannot write .*file as a database of LanceDB"):
        export_to_lancedb(database, tmp_path / "file", "notes")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("export", [export_to_lancedb, export_to_qdrant])
def test_mistakes_leave_nothing(export, database: Path, tmp_path: Path) -> None:
    for name in ("", "a/b", "../x"):
        with pytest.raises(ArgumentError, match="cannot be the name of a"):
            export(database, tmp_path / "made", name)
    (tmp_path / "empty.db").touch()
    with pytest.raises(EmptyCollectionError):
        export(tmp_path / "empty.db", tmp_path / "made", "notes")
    with pytest.raises(CollectionError, match="no such file"):
        export(tmp_path / "no.db", tmp_path / "made", "notes")
    assert not (tmp_path / "made").exists()
