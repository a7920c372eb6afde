"""`jlocal status`, `jlocal forget` and `jlocal collections`: list and remove what is indexed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pexpect
import pytest

from jlocal import Collection, Embedder
from jlocal.collection.index.report import Progress
from jlocal.excerpts.columns import width
from jlocal.locations import home
from support.opening import refused
from support.pdfs import pdf, stream
from support.texts import prose


@pytest.fixture
def notes(tmp_path: Path, model: Embedder) -> Path:
    """Return a folder of three notes and a photo, in the default collection."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.md", "b.md", "c.md"):
        (folder / name).write_text(f"This is {name}.\n")
        os.utime(folder / name, (1e9, 1e9))
    (folder / "p.jpg").write_bytes(b"\xff\xd8\0")
    with Collection(model=model) as collection:
        collection.index(folder, exclude=["*.tmp"], chunk=64)
    return folder


@pytest.mark.slow
def test_status_says_what_is_out_of_date(jlocal, notes: Path, tmp_path: Path) -> None:
    with Collection() as collection:
        status = collection.status()
    assert (status.documents, status.passages, status.kept) == (3, 3, 0)
    (notes / "b.md").write_text("changed")
    (notes / "c.md").unlink()
    (notes / "d.md").write_text("new")
    facts = json.loads(jlocal("status", "--json").stdout)
    assert facts["path"] == str(home() / "collections" / "default.db")
    assert (facts["name"], facts["documents"], facts["passages"]) == ("default", 3, 3)
    assert facts["made_with"]["chunk"] == 64
    assert facts["has_model"] is True
    (folder,) = facts["folders"]
    assert (folder["path"], folder["exclude"]) == (str(notes), ["*.tmp"])
    counts = [folder[name] for name in ("new", "changed", "missing", "skipped", "large")]
    assert counts == [1, 1, 1, 1, 0]
    done = jlocal("status")
    assert "3 documents, 1 file to index, 1 changed, 1 deleted, 1 skipped, --exclude" in done.stdout
    assert done.returncode == 0
    assert "--exclude '*.tmp'" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next       jlocal update"


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 30])
def test_the_lines_of_status_end_between_words(
    jlocal, tmp_path: Path, model: Embedder, columns: int
) -> None:
    folder = tmp_path / "notes" / "日本語のノート" / "and-a-long-name-that-fits-in-no-narrow-line"
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"{number}.md").write_text(f"This is {number}.\n")
    with Collection(model=model) as collection:
        collection.index(folder, exclude=["*.tmp", "*.bak", "archive/*"], chunk=64)
    (folder / "1.md").unlink()
    (folder / "10.md").write_text("new")
    plain = jlocal("status").stdout
    assert max(map(width, plain.splitlines())) > 100
    terminal = pexpect.spawn(
        sys.executable, ["-m", "jlocal", "status"], dimensions=(24, columns), encoding="utf-8",
        env={**os.environ, "COLUMNS": str(columns)},
    )  # fmt: skip
    shown = terminal.read()
    lines = shown.splitlines()
    assert shown.split() == plain.split()
    for line in lines:
        assert width(line) <= columns or len(line[11:].split()) == 1
        assert line[:11].strip() == "" or line[:1] != " "


def test_what_was_just_indexed_is_not_changed(tmp_path: Path, model: Embedder) -> None:
    """Files may change within a tick of their clock, so that they are read again, but not shown."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.md", "b.md"):
        (folder / name).write_text(f"This is {name}.")
    # Of two pages one cannot be read, which each run reports.
    bad = stream(b"no zlib here", "/Filter /FlateDecode")
    (folder / "c.pdf").write_bytes(pdf("A page.", bad))
    os.utime(folder / "c.pdf", (1e9, 1e9))
    with Collection(model=model) as collection:
        assert [collection.index(folder).failed for _ in range(2)] == [1, 1]
        (status,) = collection.status().folders
        assert (status.new, status.changed, status.documents) == (0, 0, 3)
        (folder / "b.md").write_text("changed, a moment later")
        (status,) = collection.status().folders
        assert (status.new, status.changed) == (0, 1)
        # The same size and, for a clock that is coarse, the same time.
        collection.index(folder)
        before = (folder / "a.md").stat()
        (folder / "a.md").write_text("This is A.md.")
        os.utime(folder / "a.md", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert collection.update().changed == 1


@pytest.mark.slow
def test_status_tells_what_is_skipped_from_what_is_new(
    jlocal, tmp_path: Path, model: Embedder
) -> None:
    folder = tmp_path / "notes"
    (folder / "node_modules").mkdir(parents=True)
    (folder / "node_modules/a.js").write_text("x")
    (folder / "a.md").write_text("A note.")
    (folder / "server.log").write_text("".join(f"{n} request\n" for n in range(200_000)))
    for name, data in (("p.jpg", b"\xff\xd8\0"), ("empty.md", b""), ("blank.txt", b" \n")):
        (folder / name).write_bytes(data)
    (folder / "gone.md").symlink_to("nowhere")
    with Collection(model=model) as collection:
        collection.index(folder)
        for name in ("new.md", "torn.md"):
            (folder / name).write_text("Another.")
        (folder / "torn.md").write_bytes(b"torn\0")
        (status,) = collection.status().folders
        assert (status.new, status.skipped, status.large) == (2, 5, 1)
        # It is another file now.
        (folder / "server.log").write_text("Short.")
        assert collection.status().folders[0].large == 0
        collection.index(folder)
        (status,) = collection.status().folders
        assert (status.new, status.skipped, status.large, status.failed) == (0, 5, 0, 1)
    assert "3 documents, 5 skipped, 1 not indexed (jlocal update" in jlocal("status").stdout


@pytest.mark.slow
def test_a_file_that_each_run_fails_to_index_is_not_one_to_index(
    jlocal, tmp_path: Path, model: Embedder
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "good.md").write_text("A note.")
    (folder / "later torn.md").write_text("Another note.")
    # One cannot be read, one is too long for the model, and one has no record to index.
    (folder / "torn.md").write_bytes(b"torn\0")
    (folder / "long.md").write_text("word " * 2 * model.max_seq_length)
    (folder / "bad.jsonl").write_text("{}\n")
    with Collection(model=model) as collection:
        collection.index(folder, chunk=None, fields=["text"])
        (folder / "later torn.md").write_bytes(b"torn, too\0")
        for _ in range(2):
            assert collection.update().failed == 4
            (status,) = collection.status().folders
            assert (status.new, status.changed, status.failed) == (0, 0, 4)
            assert status.skipped == 0
        lines = jlocal("status").stdout.splitlines()
        assert lines[1].endswith("4 not indexed (jlocal update says why)")
        assert not any(line.startswith("Next") for line in lines)
        (row,) = json.loads(jlocal("status", "--json").stdout)["folders"]
        assert row["failed"] == 4
        # It is another file now, and the next run may succeed.
        (folder / "torn.md").write_text("Mended.")
        (status,) = collection.status().folders
        assert (status.new, status.failed) == (1, 3)
        assert (collection.update().new, collection.status().folders[0].failed) == (1, 3)


def test_a_document_that_can_no_longer_be_read_is_not_a_changed_one(
    tmp_path: Path, model: Embedder
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("A note.")
    with Collection(model=model) as collection:
        collection.index(folder)
        os.utime(folder / "a.md", (1e9, 1e9))
        with refused(folder / "a.md"):
            assert collection.update().failed == 1
        (status,) = collection.status().folders
        assert (status.documents, status.changed, status.failed) == (1, 0, 1)


@pytest.mark.slow
def test_passages_of_a_file_that_is_not_done_are_not_to_be_deleted(
    jlocal, tmp_path: Path, model: Embedder
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text(prose(6000))

    def interrupt(progress: Progress) -> None:
        if progress.embedded:
            raise KeyboardInterrupt

    with Collection(model=model) as collection:
        with pytest.raises(KeyboardInterrupt):
            collection.index(folder, chunk=64, on_progress=interrupt)
        status = collection.status()
        assert (status.documents, status.kept) == (0, 0)
        assert status.unfinished > 0
        said = jlocal("status").stdout
        assert f"; {status.unfinished:,} more are embedded for files to index" in said
        assert "--compact" not in said
        assert said.endswith("Next       jlocal update\n")
        report = collection.update()
        assert report.kept == 0
        assert report.embedded + status.unfinished == collection.status().passages
        # Of a file that will not come, they are.
        (folder / "b.md").write_text(prose(6000, seed=2))
        with pytest.raises(KeyboardInterrupt):
            collection.update(on_progress=interrupt)
        (folder / "b.md").unlink()
        status = collection.status()
        assert (status.unfinished, status.kept > 0) == (0, True)


@pytest.mark.slow
def test_status_of_a_folder_and_a_model_that_are_missing(
    jlocal, notes: Path, tmp_path: Path, model_file: Path
) -> None:
    other = shutil.copy(model_file, tmp_path / "other.gguf")
    with Collection("work", other) as collection:
        collection.index(notes)
    notes.rename(tmp_path / "away")
    Path(other).unlink()
    facts = json.loads(jlocal("status", "--json", "-d", "work").stdout)
    assert (facts["documents"], facts["has_model"]) == (3, False)
    (folder,) = facts["folders"]
    assert (folder["is_there"], folder["documents"], folder["missing"]) == (False, 3, 0)
    done = jlocal("status", "-d", "work")
    assert "the folder is missing, and its documents are kept" in done.stdout
    assert f"no longer at {other}" in done.stdout


@pytest.mark.slow
def test_forget_on_the_command_line(jlocal, notes: Path, tmp_path: Path) -> None:
    done = jlocal("forget", notes)
    assert (done.returncode, done.stdout) == (1, "")
    assert "to forget without asking, add --yes" in done.stderr
    done = jlocal("forget", "notes/a.md")
    assert done.stderr.endswith(f"to exclude it: jlocal index {notes} --exclude a.md\n")
    done = jlocal("forget", "other", "-y")
    assert done.returncode == 1
    assert f"is not in this collection, which remembers {notes}" in done.stderr
    done = jlocal("forget", "notes", "-y")
    assert done.stderr.splitlines() == [
        "Forgot notes, and removed its 3 documents.",
        "Note: jlocal index --compact deletes the texts for good.",
    ]
    assert json.loads(jlocal("status", "--json").stdout)["kept"] == 3


@pytest.mark.slow
def test_collections_are_listed_and_removed(jlocal, notes: Path, model: Embedder) -> None:
    with Collection("work", model) as collection:
        collection.index(notes / "a.md")
    (home() / "collections" / "bad.db").write_text("no database")
    rows = json.loads(jlocal("collections", "--json").stdout)
    assert [(row["name"], row["documents"]) for row in rows] == [
        ("bad", 0), ("default", 3), ("work", 1),
    ]  # fmt: skip
    assert "is not a" in rows[0]["error"]
    assert rows[1]["folders"] == [str(notes)]
    done = jlocal("collections")
    assert done.stdout == jlocal("collections", "list").stdout
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        ["bad", "unreadable"], ["default", "3"], ["work", "1"],
    ]  # fmt: skip
    assert done.stderr == "Note: bad cannot be read; jlocal status -d bad says why.\n"
    assert jlocal("status", "-d", "bad").stderr == f"Error: {rows[0]['error']}\n"
    assert jlocal("collections", "path", "work").stdout == f"{rows[2]['path']}\n"
    assert jlocal("collections", "rm", "work").returncode == 1
    done = jlocal("collections", "rm", "wrok", "-y")
    assert (done.returncode, "did you mean work?" in done.stderr) == (1, True)
    assert jlocal("collections", "rm", "nope", "-y").stderr == (
        "Error: there is no collection named nope; the names are: bad, default, work\n"
    )
    done = jlocal("collections", "rm", "work", "bad", "-y")
    assert (done.returncode, done.stderr) == (0, "Removed work\nRemoved bad\n")
    left = {path.name for path in (home() / "collections").iterdir()}
    assert {name for name in left if not name.startswith("default.db")} == set()
    assert (notes / "a.md").exists()


@pytest.mark.slow
def test_a_folder_in_place_of_a_collection_is_told_and_not_removed(jlocal) -> None:
    done = jlocal("collections", "rm", "default", "-y")
    assert done.stderr == (
        "Error: there is no collection named default; no collection has a name yet\n"
    )
    path = home() / "collections" / "default.db"
    (path / "inside").mkdir(parents=True)
    done = jlocal("collections")
    assert done.stdout.splitlines()[1].split()[:2] == ["default", "unreadable"]
    assert done.stderr == "Note: default cannot be read; jlocal status -d default says why.\n"
    assert f"{path} is a folder; move it away" in jlocal("status", "-d", "default").stderr
    done = jlocal("collections", "rm", "default", "-y")
    assert (done.returncode, done.stderr) == (
        1,
        f"Error: {path} is not a file, so it is no collection; move it away\n",
    )
    assert (path / "inside").exists()
