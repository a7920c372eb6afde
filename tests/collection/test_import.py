"""Vectors from elsewhere become a collection; those of other models or texts do not."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder
from jlocal.collection.export import export
from jlocal.errors import ArgumentError, CollectionError, OtherConfigError, TextError
from jlocal.files import sha256_of
from jlocal.models.starter import FILE
from jlocal.outputs.writers import open_writer
from support.collection_files import check

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXTS = {
    "backup": "Restic backs up the server each night.",
    "meeting": "The team meets on Tuesday.",
    "cats": "Cats chase mice.",
    "7": "A line\nand another line.",
}
MADE = {"model": "starter", "model_sha256": sha256_of(FILE), "prompt": "Document: "}


@pytest.fixture(scope="module")
def model(starter: Embedder) -> Embedder:
    return starter


@pytest.fixture(scope="module")
def vectors(model: Embedder) -> np.ndarray:
    return model.encode_document(list(TEXTS.values()))


def table(path: Path, vectors, made: dict | None = MADE, **columns) -> Path:
    """Write a Parquet file, as another program would."""
    rows = {"id": list(TEXTS), "text": list(TEXTS.values()), **columns}
    listed = [None if vector is None else list(map(float, vector)) for vector in vectors]
    schema = None if made is None else {"jlocal": json.dumps(made)}
    whole = pyarrow.table({**rows, "vector": listed}).replace_schema_metadata(schema)
    parquet.write_table(whole, path)
    return path


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """Import with the model that the files name; return the failures."""

    def run(*paths: Path, database: str = "n.db", **options) -> list[tuple[str, str]]:
        failures = []
        with Collection(tmp_path / database) as collection:
            collection.import_vectors(list(paths), on_failure=failures.append, **options)
        check(tmp_path / database)
        return [(failure.id, failure.reason) for failure in failures]

    return run


def test_a_row_is_a_text_that_is_found(vectors, model, imported, tmp_path: Path) -> None:
    path = table(tmp_path / "v.parquet", vectors, year=[2024, 2021, None, 7], by=["a"] * 4)
    assert imported(path) == []
    with Collection(tmp_path / "n.db") as collection, Collection(tmp_path / "own.db") as own:
        own.add(list(TEXTS.values()), ids=list(TEXTS))
        for query in ("who hunts rodents?", "backups"):
            hits, same = collection.search(query), own.search(query)
            assert [hit.path for hit in hits] == [hit.path for hit in same]
            np.testing.assert_allclose(
                [h.cosine for h in hits], [h.cosine for h in same], atol=1e-4
            )
        assert collection.get("backup").metadata == {"year": 2024, "by": "a"}
        assert collection.get("cats").metadata == {"by": "a"}
        assert collection.get("7").text == TEXTS["7"]
        assert [hit.path for hit in collection.search("x", where={"year": {"$gt": 2023}})] == [
            "backup"
        ]
        # Texts can be added to it as to any other.
        collection.add("Dogs bark.", ids="dogs")
        assert collection.search("noisy pets", n=1)[0].path == "dogs"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float16", "int8", "uint8", "float64"])
def test_rounded_vectors_are_good_enough(kind: str, vectors, imported, tmp_path: Path) -> None:
    from jlocal.vectors import quantize

    rounded = vectors.astype(kind) if kind == "float64" else quantize(vectors, kind)
    np.savez(tmp_path / "v.npz", embeddings=rounded, ids=np.array(list(TEXTS)))
    lines = [json.dumps({"id": id, "text": text}) for id, text in reversed(TEXTS.items())]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    assert imported(tmp_path / "v.npz", texts=tmp_path / "texts.jsonl") == []
    with Collection(tmp_path / "n.db") as collection:
        assert collection.search("who hunts rodents?", n=1)[0].path == "cats"


@pytest.mark.slow
def test_lines_are_numbered_as_embed_does(model: Embedder, imported, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("Cats chase mice.\nThe team meets.\n")
    for ids in (["1", "2"], ["lines.txt:1", "lines.txt:2"]):
        path = tmp_path / f"v{len(ids[0])}.npz"
        with open_writer(path, "npz", MADE) as writer:
            for id, text in zip(ids, ["Cats chase mice.", "The team meets."], strict=True):
                writer.add(id, model.encode_document(text))
        assert imported(path, texts=tmp_path / "lines.txt", database=f"{path.stem}.db") == []


@pytest.mark.slow
def test_an_export_of_files_comes_back(imported, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Pets\n\n" + "Cats chase mice. " * 90)
    with Collection(tmp_path / "files.db", "starter") as collection:
        collection.index(tmp_path / "notes")
        first = collection.search("rodents", n=1)[0]
    export(tmp_path / "files.db", tmp_path / "v.parquet", "parquet")
    assert imported(tmp_path / "v.parquet") == []
    with Collection(tmp_path / "n.db") as collection:
        (hit, *_) = collection.search("rodents")
        assert hit.path.startswith(f"file:{tmp_path}/notes/a.md:")
        assert hit.cosine == pytest.approx(first.cosine, abs=1e-5)
        assert collection.get(hit.path).metadata["first_line"] == 3


def test_bad_rows_are_reported_and_the_others_kept(vectors, imported, tmp_path: Path) -> None:
    good = list(vectors)
    table(tmp_path / "a.parquet", [None, *good[1:]], error=["is empty", None, None, None])
    table(tmp_path / "b.parquet", [good[0], good[1], good[2] * 0, good[3][:9]], id=[*"bcde"])
    table(tmp_path / "c.parquet", good, id=[*"fghi"], text=["", None, *list(TEXTS.values())[2:]])
    table(tmp_path / "d.parquet", good, id=["x" * 2000, "", *"jk"])
    failures = dict(imported(*sorted(tmp_path.glob("*.parquet"))))
    assert failures == {
        "backup": "is empty",
        "d": "its vector has no direction: it is zero, or not finite",
        "e": "its vector has 9 dimensions, not 256",
        "f": "is empty",
        "g": failures["g"],
        "x" * 2000: failures["x" * 2000],
        "": failures[""],
    }
    assert "None" in failures["g"]
    assert "cannot be an id" in failures[""]
    with Collection(tmp_path / "n.db") as collection:
        assert len(collection) == 16 - len(failures)
    assert ("b", "its id comes twice") in imported(
        *[tmp_path / "b.parquet"] * 2, database="twice.db"
    )


def test_two_columns_of_one_name_are_refused(vectors, imported, tmp_path: Path) -> None:
    """One of them would be imported, and nobody knows which."""
    path = table(tmp_path / "v.parquet", vectors, year=[1, 2, 3, 4])
    whole = parquet.read_table(path)
    for name in ("text", "vector", "year"):
        parquet.write_table(whole.append_column(name, whole[name]), path)
        with pytest.raises(ArgumentError, match=f"two columns of the name '{name}'"):
            imported(path)
    assert not (tmp_path / "n.db").exists()


@pytest.mark.slow
def test_other_vectors_are_refused_and_nothing_is_left(
    vectors, imported, model: Embedder, tmp_path: Path
) -> None:
    other = {**MADE, "model_sha256": "0" * 64}
    table(tmp_path / "model.parquet", vectors, other)
    table(tmp_path / "order.parquet", vectors[::-1])
    table(tmp_path / "prompt.parquet", model.encode(list(TEXTS.values()), prompt=""), None)
    table(tmp_path / "signs.parquet", vectors, {**MADE, "precision": "binary"})
    table(tmp_path / "none.parquet", [None] * 4)
    table(tmp_path / "texts.parquet", vectors, text=[None] * 4)
    for name, kind, message in (
        ("model", CollectionError, r"\(sha256 000000000000…\), and .* is another file"),
        ("order", CollectionError, "the vector in the file is not the one that"),
        ("prompt", CollectionError, "the vector in the file is not the one that"),
        ("signs", ArgumentError, "has only signs"),
        ("none", ArgumentError, "the column .vector. has no vectors, but null"),
        ("texts", ArgumentError, "no row of .* can be imported"),
    ):
        with pytest.raises(kind, match=message):
            imported(tmp_path / f"{name}.parquet")
        assert not (tmp_path / "n.db").exists()
    with pytest.raises(ArgumentError, match="differ in model_sha256"):
        imported(table(tmp_path / "v.parquet", vectors), tmp_path / "model.parquet")
    imported(tmp_path / "v.parquet")
    asked = {**MADE, "prompt": "Query: "}
    with pytest.raises(OtherConfigError, match="prompt 'Query: ' cannot be mixed in"):
        imported(table(tmp_path / "query.parquet", vectors, asked))


def test_hostile_archives_are_refused(vectors, imported, tmp_path: Path) -> None:
    path, ids = tmp_path / "v.npz", np.array(list(TEXTS))
    (tmp_path / "t.txt").write_text("x\n")
    for arrays, message in (
        ({"embeddings": vectors.astype(object), "ids": ids}, "holds objects"),
        ({"embeddings": vectors, "ids": ids.astype(object)}, "holds objects"),
        ({"embeddings": vectors, "ids": ids[:2]}, "its ids are"),
        ({"embeddings": vectors[0], "ids": ids}, "its vectors are"),
        ({"embeddings": vectors.astype(complex), "ids": ids}, "its vectors are"),
        ({"embeddings": np.asfortranarray(vectors), "ids": ids}, "column by column"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(TextError, match=message):
            imported(path, texts=tmp_path / "t.txt")
    path.write_bytes(b"PK no archive")
    with pytest.raises(TextError, match="zip"):
        imported(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.npy", b"")
    with pytest.raises(ArgumentError, match="has no arrays `embeddings` and `ids`"):
        imported(path)
    (tmp_path / "v.parquet").write_bytes(b"PAR1" * 4)
    with pytest.raises(TextError, match=r"v\.parquet: "):
        imported(tmp_path / "v.parquet")
    (tmp_path / "v.json").write_text("{}")
    with pytest.raises(TextError, match=r"\.parquet and \.npz"):
        imported(tmp_path / "v.json")


@pytest.mark.slow
def test_the_command_says_what_it_did(vectors, tmp_path: Path) -> None:
    def jlocal(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    table(tmp_path / "v.parquet", [None, *vectors[1:]], error=["is \x1b[31mred", *[None] * 3])
    done = jlocal("import", tmp_path, "-d", tmp_path / "n.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "Not imported: backup: is \ufffd[31mred",
        f"Imported 3 texts into {tmp_path / 'n.db'}",
        "Error: 1 of 4 rows were not imported.",
    ]
    done = jlocal("search", "-d", tmp_path / "n.db", "rodents", "--files")
    assert done.stdout.splitlines()[0] == "cats"
    done = jlocal("import", tmp_path / "v.parquet", "--text", "no", "-d", tmp_path / "o.db")
    assert done.returncode == 1
    assert "name the file that was embedded with --texts" in done.stderr
