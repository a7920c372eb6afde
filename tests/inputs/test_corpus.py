"""Shards of a corpus hold each record once, wherever they are cut, and say why one has no text."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from jlocal.errors import ArgumentError, TextError
from jlocal.inputs import corpus
from jlocal.inputs.corpus import Fields, Shard, corpus_files, file_system, read_shard, shards
from jlocal.inputs.documents import Document, Unreadable

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def read(location: Path | str, rows: int = 3, fields: Fields | None = None) -> list:
    where = str(location)
    return read_shards(where, list(shards(where, corpus_files(where), rows)), rows, fields)


def read_shards(where: str, cut: list[Shard], rows: int, fields: Fields | None = None) -> list:
    found = [list(read_shard(where, shard, fields or Fields())) for shard in cut]
    assert all(0 < len(part) <= rows for part in found)
    return [item for part in found for item in part]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("block", [1, 5, 1 << 20])
def test_lines_are_read_once(rows: int, end: str, block: int, tmp_path: Path) -> None:
    lines = ["one", "zwei ä", "三", "", "five 🐈", "6" * 20, "seven"]
    data = (end or "\n").join(lines).encode() + end.encode()
    (tmp_path / "a.txt").write_bytes(data)
    where = str(tmp_path / "a.txt")
    system, _ = file_system(where)
    (file,) = corpus_files(where)
    found = read_shards(where, list(corpus._line_shards(system, file, rows, block)), rows)
    assert [item.id for item in found] == [f"a.txt:{number}" for number in range(1, 8)]
    texts = [item.text for item in found if isinstance(item, Document)]
    assert texts == [line for line in lines if line]
    assert found[3] == Unreadable("a.txt:4", "is empty")
    split = [*corpus._split(io.BytesIO(data), len(data), block)]
    assert b"\n".join(split) + b"\n" * bool(end) == data


@pytest.mark.parametrize("groups", [1, 4, 1000])
def test_rows_of_parquet_are_read_once(groups: int, tmp_path: Path) -> None:
    table = pyarrow.table(
        {"n": range(11), "id": [f"i{n}" for n in range(11)], "text": [f"t{n}" for n in range(11)]}
    )
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=groups)
    expected = [Document(f"i{n}", f"t{n}") for n in range(11)]
    assert read(tmp_path / "a.parquet") == expected
    assert read(f"file://{tmp_path}/a.parquet", 5) == expected
    numbered = read(tmp_path / "a.parquet", 4, Fields("n"))
    assert [item.id for item in numbered] == [str(n) for n in range(11)]
    parquet.write_table(table.select(["text"]), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet")[10].id == "b.parquet:11"
    for fields in (Fields("no"), Fields(text="no")):
        with pytest.raises(ArgumentError, match=r"has no column 'no'; it has: n, id, text"):
            read(tmp_path / "a.parquet", 4, fields)


def test_each_bad_record_has_its_reason(tmp_path: Path) -> None:
    lines = [
        b'{"id": "a", "text": "good"}',
        b"",
        b"not json",
        b"[1]",
        b'{"id": "b"}',
        b'{"id": "c", "text": null}',
        b'{"id": 7, "text": ["x"]}',
        b'{"id": "d", "text": "  "}',
        b'{"id": null, "text": "x"}',
        b'{"id": "\\ud800", "text": "x"}',
        b'{"text": "its place is its id"}',
        b'{"id": "e", "text": "\xff"}',
        b"[" * 100_000,
        b'{"id": 8, "text": "the last"}',
        b'{"id": "f", "text": "one", "text": "two"}',
        b'{"id": "g", "id": "h", "text": "x"}',
        b'{"id": "i", "text": "y", "n": 1, "n": 2}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found = read(tmp_path / "a.jsonl", 4)
    good = [(item.id, item.text) for item in found if isinstance(item, Document)]
    place = ("a.jsonl:11", "its place is its id")
    assert good == [("a", "good"), place, ("8", "the last"), ("i", "y")]
    bad = {item.id: item.reason for item in found if isinstance(item, Unreadable)}
    no_id = "has no id in the field 'id': a text or a whole number"
    assert bad == {
        "a.jsonl:3": "is not JSON",
        "a.jsonl:4": "is not a JSON object",
        "b": "has no field 'text'; it has: id",
        "c": "its text is of type null",
        "7": "its text is of type list",
        "d": "is empty",
        "a.jsonl:9": no_id,
        "a.jsonl:10": no_id,
        "a.jsonl:12": "is not UTF-8 text",
        "a.jsonl:13": "is not JSON",
        "a.jsonl:15": "has two fields of the name 'text'",
        "a.jsonl:16": "has two fields of the name 'id'",
    }


@pytest.mark.parametrize("name", ["id", "text"])
def test_two_columns_of_one_name(name: str, tmp_path: Path) -> None:
    names = ["id", "text", "year", "year", name]
    table = pyarrow.Table.from_arrays([pyarrow.array(["a", "b"])] * 5, names=names)
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ArgumentError, match=f"has two columns of the name '{name}'"):
        read(tmp_path / "a.parquet")
    parquet.write_table(table.select([0, 1, 2, 3]), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [Document("a", "a"), Document("b", "b")]


@pytest.mark.slow
def test_a_line_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    rest = "\n".join("abcdefgh" * 99)
    path.write_text("first\n" + "x" * (80 << 20) + "\n" + rest)
    found = read(path, 10_000)
    assert found[0] == Document("a.txt:1", "first")
    assert found[1].reason == "a line larger than 64 MiB; split it"
    assert [item.text for item in found[2:]] == [*"abcdefgh" * 99]
    data = f"first\n{'x' * 5000}\n{rest}".encode()
    path.write_bytes(data)
    (file,) = corpus_files(str(path))
    system, _ = file_system(str(path))
    cut = list(corpus._line_shards(system, file, 10_000, 64, 256))
    assert len(cut) > 3
    with path.open("rb") as source:
        split = [line for shard in cut for line in corpus._split(source, shard.size, 64, 256)]
    assert split == [b"first", None, *rest.encode().split(b"\n")]


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.jsonl", "sub/c.txt", ".hidden.txt", "_made.txt"):
        (tmp_path / name).write_text(json.dumps({"text": name}) + "\n")
    assert [item.id for item in read(tmp_path)] == ["a.jsonl:1", "b.txt:1", "sub/c.txt:1"]


def test_mistakes_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n")
    (tmp_path / "a.parquet").write_text("no parquet")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("a.csv", "a corpus has files of .parquet, .jsonl, .ndjson and .txt"),
        ("no.txt", "no such file or folder"),
        ("folder", "there is no file in it"),
    ):
        with pytest.raises(ArgumentError, match=message):
            read(tmp_path / name)
    with pytest.raises(ArgumentError, match="nosuch"):
        read("nosuch://bucket/a.txt")
    with pytest.raises(TextError, match=r"a\.parquet: .*[Pp]arquet"):
        read(tmp_path / "a.parquet")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="all file names are Unicode there")
def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    bad = tmp_path / os.fsdecode(b"bad\xff")
    bad.mkdir()
    (bad / "b.txt").write_text("two\n")
    for location in (tmp_path, bad, bad / "b.txt", bad / "c.txt", f"file://{bad}"):
        with pytest.raises(ArgumentError, match=r"bad\udcff.*: the name is not UTF-8"):
            corpus_files(str(location))


def test_a_mesh_of_links_is_entered_once(tmp_path: Path) -> None:
    """Packages of a workspace have links to each other, and pyarrow would follow them all."""
    for number in range(8):
        links = tmp_path / f"package{number}" / "links"
        links.mkdir(parents=True)
        (links.parent / "a.txt").write_text(f"{number}\n")
        for other in range(8):
            (links / f"{other}").symlink_to(f"../../package{other}")
    (tmp_path / "again.txt").symlink_to("package0/a.txt")
    names = [file.name for file in corpus_files(str(tmp_path))]
    assert names == [f"package{number}/a.txt" for number in range(8)]
    assert [file.name for file in corpus_files(str(tmp_path / "again.txt"))] == ["again.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    for place in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        place(tmp_path / "b.txt")
        for location in (tmp_path, tmp_path / "b.txt"):
            with pytest.raises(ArgumentError, match=r"b\.txt: it is not a regular file"):
                corpus_files(str(location))
        (tmp_path / "b.txt").unlink()


def test_hidden_files_are_left_out_unless_named(tmp_path: Path) -> None:
    for name in (".a.txt", "_b.txt", ".d/c.txt", "_e/c.txt", "f/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one\n")
    assert [file.name for file in corpus_files(str(tmp_path))] == ["f/c.txt"]
    for name in (".a.txt", "_b.txt"):
        assert [file.name for file in corpus_files(str(tmp_path / name))] == [name]
