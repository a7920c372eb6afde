"""Collections: what is embedded when, what is refused, and strange files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, CollectionError, Embedder
from jlocal.collection.database.schema import VERSION
from jlocal.errors import ArgumentError
from jlocal.inputs.encodings import decode
from jlocal.models.chunking import default_chunking
from support.collection_files import check, rows
from support.opening import opened_files
from support.texts import AWKWARD, prose


def settle() -> None:
    """Make files old enough for their times to be trusted; their ctime is what takes time."""
    time.sleep(2.1)


def test_only_what_changed_is_embedded(index, notes: Path, model: Embedder, tmp_path: Path) -> None:
    assert index() == {"new": 3, "embedded": 3}
    assert index() == {"unchanged": 3}
    (notes / "a.md").rename(notes / "renamed.md")
    assert index() == {"new": 1, "unchanged": 2, "removed": 1}
    (notes / "b.md").write_text("Something else.")
    assert index() == {"changed": 1, "unchanged": 2, "embedded": 1, "kept": 1}
    shutil.copy(notes / "b.md", notes / "copy.md")
    assert index() == {"new": 1, "unchanged": 3, "kept": 1}
    (notes / "sub" / "c.md").unlink()
    assert index() == {"unchanged": 3, "removed": 1, "kept": 2}
    (notes / "sub" / "c.md").write_text("This is sub/c.md.\n")
    assert index() == {"new": 1, "unchanged": 3, "kept": 1}
    os.utime(notes / "b.md", ns=(1, 1))
    assert index() == {"unchanged": 4, "kept": 1}
    with Collection(tmp_path / "notes.db", model) as collection:
        hits = collection.search("This")
    found = [{Path(place.path).name for place in (hit, *hit.others)} for hit in hits]
    assert sorted(map(sorted, found)) == [["b.md", "copy.md"], ["c.md"], ["renamed.md"]]


def test_a_change_that_hides_is_seen(index, notes: Path) -> None:
    """Same size, same time of change."""
    path = notes / "a.md"
    before = path.stat()
    assert index()["new"] == 3
    path.write_text("This is A.md.\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index() == {"changed": 1, "unchanged": 2, "embedded": 1, "kept": 1}
    settle()
    assert index() == {"unchanged": 3, "kept": 1}
    path.write_text("This is a.mD.\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index() == {"changed": 1, "unchanged": 2, "embedded": 1, "kept": 2}


def test_old_files_are_not_read_again(index, notes: Path) -> None:
    def read() -> set[str]:
        with opened_files() as opened:
            index()
        return {path for path in opened if path.startswith(str(notes)) and path.endswith(".md")}

    settle()
    assert len(read()) == 3
    assert read() == set()
    assert index() == {"unchanged": 3}


def test_what_is_chosen_and_pruned(index, notes: Path) -> None:
    (notes / "d.txt").write_text("d")
    (notes / ".hidden.md").write_text("hidden")
    assert index()["new"] == 4
    assert index(include=["*.md"]) == {"unchanged": 3, "removed": 1, "kept": 1}
    assert index(exclude=["sub"]) == {"new": 1, "unchanged": 2, "removed": 1, "kept": 1}
    assert index(notes / "sub" / "c.md") == {"new": 1}
    assert index(notes / "sub", notes / "sub" / "c.md") == {"unchanged": 1}
    # Elsewhere nothing is removed.
    shutil.rmtree(notes / "sub")
    assert index(notes / "a.md") == {"unchanged": 1}
    assert index(notes / "sub", prune=True) == {"removed": 1, "kept": 1}
    assert index(notes / "sub", prune=True) == {"failed": 1, "kept": 1}
    (notes / "a.md").unlink()
    (notes / "b.md").unlink()
    (notes / "d.txt").unlink()
    assert index(prune=True) == {"removed": 3, "kept": 4}
    assert index(prune=True) == {"failed": 1, "kept": 4}


def test_gitignore(index, notes: Path, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("b.*\nbuild/\n/notes/only.md\n")
    (notes / ".gitignore").write_text("*.log\n!keep.log\n")
    (notes / "sub" / ".gitignore").write_text("!b.md\n")
    for name in ("x.log", "keep.log", "build/y.md", "only.md", "sub/only.md", "sub/b.md"):
        (notes / name).parent.mkdir(exist_ok=True)
        (notes / name).write_text(name)
    assert index()["new"] == 5  # a.md, keep.log, sub/b.md, sub/c.md, sub/only.md
    assert index(gitignore=False) == {"new": 4, "unchanged": 5, "embedded": 4}


@pytest.mark.slow
def test_awkward_texts(tmp_path: Path, model: Embedder) -> None:
    folder = tmp_path / "awkward"
    folder.mkdir()
    for number, text in enumerate(AWKWARD.values()):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8", newline="")
    (folder / "utf-16.txt").write_text("Ça va?", encoding="utf-16")
    (folder / "latin-1.txt").write_bytes("Ça va?".encode("latin-1"))
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0")
    with Collection(tmp_path / "c.db", model) as collection:
        report = collection.index(folder, chunk=None)
        failures = {Path(f.id).name: f.reason for f in report.failures}
        assert set(failures) == {"latin-1.txt"} | {
            f"{n}.txt" for n, text in enumerate(AWKWARD.values()) if "\0" in text
        }
        skipped = {Path(item.path).name: item.reason for item in report.skipped}
        assert skipped == {"picture.png": "binary"} | {
            f"{n}.txt": "empty" for n, text in enumerate(AWKWARD.values()) if not text.strip()
        }
        assert report.new == len(AWKWARD) + 3 - report.failed - len(skipped)
        stored = {
            row[0]: np.frombuffer(row[8], "<f4") for row in rows(tmp_path / "c.db") if len(row) > 1
            and row[8]
        }  # fmt: skip
    for number, text in enumerate(AWKWARD.values()):
        if text.strip() and "\0" not in text:
            expected = model.encode_document(decode(text.encode()).text.rstrip())
            assert stored[str(folder / f"{number}.txt")] @ expected > 0.9999
    check(tmp_path / "c.db")


def test_awkward_names(index, notes: Path, tmp_path: Path, model: Embedder) -> None:
    names = [
        "'; DROP TABLE document; --.md",
        '"quoted" %_*?[x].md',
        "line\nbreak.md",
        "👩‍💻.md",
        unicodedata.normalize("NFD", "Crème brûlée.md"),
        unicodedata.normalize("NFC", "Crème brûlée.md"),
        os.fsdecode(b"latin-1 \xe9.md"),
    ]
    for number, name in enumerate(names):
        (notes / name).write_text(f"Awkward {number}")
    (notes / "loop").symlink_to(notes)
    (notes / "dangling").symlink_to(notes / "nothing")
    assert index() == {"new": 10, "embedded": 10}
    assert index() == {"unchanged": 10}
    with Collection(tmp_path / "notes.db", model) as collection:
        assert {Path(hit.path).name for hit in collection.search("x", 20)} >= set(names)
        (hit,) = collection.search("x", path="latin-1*")
        assert Path(hit.path).read_text() == "Awkward 6"
        assert not collection.search("x", path="'; DROP TABLE document; --")
    for name in names:
        (notes / name).unlink()
    assert index() == {"unchanged": 3, "removed": 7, "kept": 7}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_model_whose_path_is_not_utf8(notes: Path, tmp_path: Path, model: Embedder) -> None:
    path = tmp_path / os.fsdecode(b"latin-1 \xe9.gguf")
    shutil.copy(model.profile.path, path)
    for _ in range(2):
        with Embedder(path) as other, Collection(tmp_path / "named.db", other) as collection:
            assert collection.index([notes]).failed == 0
    with Collection(tmp_path / "named.db") as collection:
        assert collection.search("x")


def test_a_document_that_turns_bad_is_not_found_any_more(
    index, notes: Path, model: Embedder
) -> None:
    index(chunk=None)
    (notes / "a.md").write_bytes(b"\xff\xfe\xff")
    (notes / "b.md").write_text(prose(model.max_seq_length))
    assert index() == {"unchanged": 1, "failed": 2, "kept": 2}
    assert rows(notes.parent / "notes.db")[-5] == (1,)
    (notes / "a.md").write_text("This is a.md.\n")
    assert index() == {"new": 1, "unchanged": 1, "failed": 1, "kept": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_kept(index, notes: Path) -> None:
    index()
    (notes / "sub").chmod(0)
    (notes / "a.md").chmod(0)
    try:
        assert index() == {"unchanged": 1, "failed": 2}
    finally:
        (notes / "sub").chmod(0o700)
        (notes / "a.md").chmod(0o600)
    assert index() == {"unchanged": 3}


def test_a_folder_that_cannot_be_listed_is_kept(index, notes: Path, monkeypatch) -> None:
    index()
    real = os.scandir

    def scandir(path: Path):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("jlocal.inputs.walk.os.scandir", scandir)
    assert index() == {"unchanged": 2, "failed": 1}
    monkeypatch.undo()
    assert index() == {"unchanged": 3}


def test_the_collection_itself_is_left_out(tmp_path: Path, notes: Path, model: Embedder) -> None:
    for _ in range(2):
        with Collection(tmp_path / "notes.db", model) as collection:
            assert collection.index(tmp_path).failed == 0


@pytest.mark.slow
def test_long_files_are_cut_unless_they_are_to_be_whole(
    index, notes: Path, tmp_path: Path, model: Embedder
) -> None:
    (notes / "long.md").write_text(prose(model.max_seq_length))
    assert index(chunk=None) == {"new": 3, "failed": 1, "embedded": 3}
    with Collection(tmp_path / "notes.db", model) as collection:
        (failure,) = collection.index(notes).failures
        assert "chunk=512" in failure.reason
        assert collection.config.chunk is None
    with Collection(tmp_path / "chunks.db", model) as collection:
        report = collection.index(notes)
        assert (report.new, report.failed) == (4, 0)
        assert collection.config.chunk == default_chunking(model.profile).tokens
        assert report.embedded > 8
    check(tmp_path / "chunks.db")


def test_a_collection_keeps_its_chunks(index, notes: Path, tmp_path: Path, model: Embedder) -> None:
    index(chunk=100, overlap=12)
    index()
    with Collection(tmp_path / "notes.db", model) as collection:
        assert (collection.config.chunk, collection.config.overlap) == (100, 12)
    for chunk, other in ((64, "chunks of 64 tokens"), (None, "whole texts")):
        with pytest.raises(CollectionError, match="100 tokens") as error:
            index(chunk=chunk)
        assert other in str(error.value)
        assert "rebuild=True" in str(error.value)


@pytest.mark.slow
def test_nothing_is_mixed(
    index, notes: Path, tmp_path: Path, model: Embedder, other_model_file: Path, model_file: Path
) -> None:
    index(chunk=64, overlap=8, truncate_dim=32)
    before = rows(tmp_path / "notes.db")
    for options, message in (
        ({"chunk": 65}, "chunks of 64 tokens"),
        ({"chunk": 3}, r"cannot be added to: chunk=3 is too small: .* has \d+ to [\d,]+ tokens"),
        ({"overlap": 9}, "an overlap of 8 tokens"),
        ({"truncate_dim": 64}, "32 dimensions"),
        ({"prompt_name": "query"}, "prompt 'Document: '"),
        ({"prompt": ""}, "prompt 'Document: '"),
        ({"fields": ["q"]}, "fields none"),
    ):
        with pytest.raises(CollectionError, match=message):
            index(**options)

    with Collection(tmp_path / "notes.db", other_model_file) as collection:
        with pytest.raises(CollectionError, match="is another file"):
            collection.index(notes)
        with pytest.raises(CollectionError, match="is another file"):
            collection.search("x")
    assert index() == {"unchanged": 3}
    assert rows(tmp_path / "notes.db") == before
    # The model may move, as long as it is the same.
    moved = tmp_path / "moved.gguf"
    shutil.copy(model_file, moved)
    with Collection(tmp_path / "notes.db", moved) as collection:
        assert collection.search("x")
        assert collection.index(notes).unchanged == 3
    moved.unlink()
    with (
        Collection(tmp_path / "notes.db") as collection,
        pytest.raises(CollectionError, match="no longer there; name the file with model="),
    ):
        collection.search("x")


def test_bad_arguments(index, tmp_path: Path) -> None:
    for options in (
        {"chunk": None, "overlap": 5},
        {"chunk": 5},
        {"chunk": 64, "overlap": 40},
    ):
        with pytest.raises(ArgumentError):
            index(**options)


def test_files_that_are_no_collection(tmp_path: Path, model: Embedder, notes: Path) -> None:
    def refused(path: Path, message: str) -> None:
        before = path.read_bytes() if path.is_file() else None
        for use in (lambda c: c.index(notes), lambda c: c.search("x")):
            with Collection(path, model) as collection, pytest.raises(CollectionError) as error:
                use(collection)
            assert message in str(error.value)
            assert "\n" not in str(error.value)
        assert before is None or path.read_bytes() == before

    text = tmp_path / "text.db"
    text.write_text("This is no database. " * 1000)
    refused(text, "is not a collection of jlocal")
    refused(notes, "is a folder")
    with (
        Collection(tmp_path / "no" / "folder.db", model) as collection,
        pytest.raises(CollectionError, match="there is no folder"),
    ):
        collection.index(notes)
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE document (x)")
    connection.close()
    refused(foreign, "another program")
    made = tmp_path / "made.db"
    with Collection(made, model) as collection:
        collection.index(notes)
    newer = tmp_path / "newer.db"
    shutil.copy(made, newer)
    connection = sqlite3.connect(newer)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    refused(newer, f"has format {VERSION + 1}")
    data = made.read_bytes()
    for length in (10, 100, 4096, len(data) // 2, len(data) - 4096):
        cut = tmp_path / f"cut-{length}.db"
        cut.write_bytes(data[:length])
        with Collection(cut, model) as collection, pytest.raises(CollectionError):
            collection.search("x")
    with (
        Collection(tmp_path / "missing.db", model) as collection,
        pytest.raises(CollectionError, match="no such file"),
    ):
        collection.search("x")
    (tmp_path / "zero.db").touch()
    with Collection(tmp_path / "zero.db", model) as collection:
        with pytest.raises(CollectionError, match="is empty"):
            collection.search("x")
        assert collection.index(notes).new == 3


def test_a_collection_on_a_read_only_medium(index, tmp_path: Path, model: Embedder) -> None:
    index()
    if os.geteuid() == 0 and subprocess.run(["mount", "--version"], check=False).returncode:
        pytest.skip("root can write everywhere, and there is no mount")
    folder = tmp_path / "medium"
    folder.mkdir()
    shutil.copy(tmp_path / "notes.db", folder)
    if os.geteuid() == 0:
        mounted = subprocess.run(
            ["mount", "--bind", "-o", "ro", folder, folder], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("cannot mount here")
    else:
        folder.chmod(0o500)
    try:
        with Collection(folder / "notes.db", model) as collection:
            assert len(collection.search("x")) == 3
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", folder], check=True)
        else:
            folder.chmod(0o700)
