"""What a run removes, and what it does not believe to be deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jlocal import Collection, CollectionError, Embedder
from support.not_text import NOT_TEXT

ALL = {"a.md", "b.md", "c.md"}


def test_a_missing_folder_removes_nothing(index, found, notes: Path, tmp_path: Path) -> None:
    index()
    notes.rename(tmp_path / "x")
    for path in (notes, f"{notes}/", notes / "sub" / ".."):
        assert index(path) == {"failed": 1}
        (reason,) = index.reasons
        assert "its 3 documents are kept" in reason
        assert "use prune=True" in reason
    assert found() == ALL
    (tmp_path / "x").rename(notes)
    assert index() == {"unchanged": 3}


def test_a_folder_that_was_moved_away_and_back_is_not_embedded_again(
    index, found, notes: Path, tmp_path: Path
) -> None:
    index(chunk=64, overlap=8)
    notes.rename(tmp_path / "x")
    assert index(prune=True) == {"removed": 3, "kept": 3}
    with pytest.raises(CollectionError, match="is empty; index files"):
        found()
    # The way of cutting texts is remembered as well.
    (tmp_path / "x").rename(notes)
    assert index() == {"new": 3}
    assert found() == ALL
    shutil.move(notes / "sub", tmp_path / "y")
    assert index() == {"unchanged": 2, "removed": 1, "kept": 1}
    assert found() == {"a.md", "b.md"}
    shutil.move(tmp_path / "y", notes / "sub")
    assert index() == {"new": 1, "unchanged": 2}
    assert found() == ALL


def empty(folder: Path) -> None:
    for path in (folder / "a.md", folder / "b.md", folder / "sub" / "c.md"):
        path.unlink()


def hide(folder: Path) -> None:
    empty(folder)
    (folder / ".hidden.md").write_text("hidden")


def ignore(folder: Path) -> None:
    (folder / ".gitignore").write_text("*\n")


def break_links(folder: Path) -> None:
    for name in ("a.md", "b.md"):
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "gone" / name)
    shutil.rmtree(folder / "sub")


def blank(folder: Path) -> None:
    """A full disk, or a program that fetches files when they are opened, leaves empty files."""
    for path in folder.rglob("*.md"):
        path.write_bytes(b"")


def leave_a_picture(folder: Path) -> None:
    empty(folder)
    (folder / "photo.jpg").write_bytes(NOT_TEXT["photo.jpg"])


def leave_a_bad_file(folder: Path) -> None:
    empty(folder)
    (folder / "torn.md").write_bytes(b"A note that a crash\0\0\0\0 has torn.")


def become_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("This is a file.")


@pytest.mark.parametrize(
    "change",
    [
        *(empty, hide, ignore, break_links, become_a_file),
        *(blank, leave_a_picture, leave_a_bad_file),
    ],
)
def test_a_folder_without_files_removes_nothing(change, index, found, notes: Path) -> None:
    index()
    change(notes)
    assert "removed" not in index(dry_run=True)
    assert "removed" not in (counts := index())
    assert counts["failed"]
    assert any("documents are kept" in reason or "is missing" in reason for reason in index.reasons)
    assert found() - {"notes"} == ALL


@pytest.mark.parametrize("change", [empty, hide, ignore, blank])
def test_pruning_removes_the_documents_of_a_folder_without_files(change, index, notes) -> None:
    index()
    change(notes)
    assert index(prune=True) == {"removed": 3, "kept": 3}
    # Empty files are skipped where no document is lost.
    assert index() == ({"kept": 3} if change is blank else {"failed": 1, "kept": 3})


def test_a_folder_that_became_a_file_is_pruned_when_asked(index, found, notes: Path) -> None:
    index()
    become_a_file(notes)
    assert index(prune=True) == {"new": 1, "removed": 3, "embedded": 1, "kept": 3}
    assert found() == {"notes"}


@pytest.mark.parametrize(
    "options", [{"include": ["*.mdd"]}, {"include": ["Sub/*"]}, {"exclude": ["*"]}]
)
def test_a_mistyped_glob_removes_nothing(options, index, found) -> None:
    index()
    assert index(**options) == {"failed": 1}
    assert found() == ALL
    assert index(**options, prune=True) == {"removed": 3, "kept": 3}


def test_a_link_to_a_folder_that_is_missing_removes_nothing(
    index, found, notes: Path, tmp_path: Path
) -> None:
    link, inner = tmp_path / "link", notes / "more"
    link.symlink_to(notes)
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "d.md").write_text("This is d.md.")
    inner.symlink_to(disk)
    assert index(link)["new"] == 4
    disk.rename(tmp_path / "unmounted")
    assert index(link) == {"unchanged": 3, "failed": 1}
    assert "is missing" in index.reasons[0]
    notes.rename(tmp_path / "x")
    assert index(link) == {"failed": 1}
    assert "its 4 documents are kept" in index.reasons[0]
    assert found() == ALL | {"d.md"}


def test_a_relative_folder_in_another_working_directory(
    index, found, notes: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert index("notes")["new"] == 3
    monkeypatch.chdir(notes)
    assert index("notes") == {"failed": 1}
    assert str(notes) in index.reasons[0], "the reason says where it was looked for"
    assert index("notes", prune=True) == {"failed": 1}
    assert found() == ALL


def test_a_working_directory_that_was_deleted(index, tmp_path: Path, monkeypatch) -> None:
    index()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(CollectionError, match="working directory"):
        index("notes")


def test_a_file_that_was_named_and_deleted(index, found, notes: Path) -> None:
    path = notes / "a.md"
    index()
    path.unlink()
    assert index(path) == {"failed": 1}
    assert "its document is kept" in index.reasons[0]
    assert found() == ALL
    # The folder it was in tells.
    assert index() == {"unchanged": 2, "removed": 1, "kept": 1}
    path.write_text("This is a.md.\n")
    assert index(path) == {"new": 1}
    path.unlink()
    assert index(path, prune=True) == {"removed": 1, "kept": 1}


def test_one_of_several_folders_is_missing(index, found, notes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "d.md").write_text("This is d.md.")
    index(notes, other)
    (other / "d.md").write_text("This is another d.md.")
    (other / "e.md").write_text("This is e.md.")
    notes.rename(tmp_path / "x")
    assert index(notes, other) == {"new": 1, "changed": 1, "failed": 1, "embedded": 2, "kept": 1}
    assert found() == ALL | {"d.md", "e.md"}


def test_a_missing_folder_inside_another_that_is_named_too(index, found, notes: Path) -> None:
    index()
    shutil.rmtree(notes / "sub")
    assert index(notes, notes / "sub") == {"unchanged": 2, "failed": 1}
    assert found() == ALL
    assert index(notes, notes / "sub", prune=True) == {"unchanged": 2, "removed": 1, "kept": 1}


def test_a_folder_that_is_named_twice_is_not_an_empty_one(index, found, notes, tmp_path) -> None:
    """A link to a folder that is remembered by its other path makes no second documents."""
    link = tmp_path / "link"
    link.symlink_to(notes)
    assert index(link)["new"] == 3
    assert index(notes, link) == {"unchanged": 3}
    assert found() == ALL


def test_a_disk_that_goes_while_it_is_read(index, found, notes: Path, monkeypatch) -> None:
    """The entries of a folder are listed, and then they are no longer there."""
    index()
    real = os.scandir

    def scandir(path: Path):
        entries = real(path)
        Path(path).rename(f"{path}-unmounted")
        return entries

    monkeypatch.setattr("jlocal.inputs.walk.os.scandir", scandir)
    assert "removed" not in index()
    monkeypatch.undo()
    assert found() == ALL


def test_a_collection_in_the_folder_that_it_is_made_of(tmp_path: Path, model: Embedder) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("This is a.md.")
    with Collection(folder / "notes.db", model) as collection:
        assert collection.index(folder).new == 1
        (folder / "a.md").unlink()
        report = collection.index(folder)
        assert (report.removed, report.failed) == (0, 1)
        assert len(collection.search("this")) == 1


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path, notes: Path, model_file: Path) -> None:
    def jlocal(*arguments: object) -> tuple[int, list[str]]:
        done = subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
        )  # fmt: skip
        assert done.stdout == ""
        lines = [line for line in done.stderr.splitlines() if not line.startswith("AMX ")]
        return done.returncode, lines

    assert jlocal("index", "notes", "-d", "n.db", "-m", model_file, "-q") == (0, [])
    notes.rename(tmp_path / "x")
    status, lines = jlocal("index", "notes", "-d", "n.db")
    assert status == 1
    assert lines[0].startswith("Not indexed: notes: no such file or folder")
    assert lines[1:] == ["Error: 1 input was not indexed."]
    status, lines = jlocal("index", "notes", "-d", "n.db", "--prune")
    assert status == 0
    assert lines[0].startswith("  0 of 0 files: 3 removed · ")
    assert lines[1:] == [
        "  Note: 3 texts of removed or changed documents stay in the collection; jlocal index "
        "--compact -d n.db deletes them.",
        f"  {notes} was deleted, and is not remembered any more.",
    ]
    status, lines = jlocal("index", "--compact", "-d", "n.db")
    assert status == 0
    assert lines[0].startswith("Deleted 3 texts; ")
    assert jlocal("index", "--compact", "-d", "n.db", "-q") == (0, [])
    assert jlocal("index", "notes", "--compact", "-d", "n.db")[0] == 2
    status, lines = jlocal("index", "--compact", "-d", "none.db")
    assert (status, len(lines)) == (1, 1)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(CollectionError):
        Collection(tmp_path / "none.db").compact()
    assert not list(tmp_path.glob("none.db*"))


def test_the_collection_itself_is_not_indexed_through_a_link(index, found, notes: Path) -> None:
    (notes / "up").symlink_to("..")
    assert index() == {"new": 3, "embedded": 3}
    assert found() == ALL
    assert index() == {"unchanged": 3}
