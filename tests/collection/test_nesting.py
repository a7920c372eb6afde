"""A folder inside a remembered one is a part of it, and no file is two documents."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jlocal import Collection
from jlocal.collection.index.folders import Folder


def names(collection: Collection) -> list[str]:
    return sorted(Path(document.id).name for document in collection.documents())


def test_an_inner_folder_is_brought_up_to_date_and_not_remembered(
    collection: Collection, notes: Path
) -> None:
    collection.index(notes, exclude=["*.log"])
    for path in (notes / "new.md", notes / "work/new too.md"):
        path.write_text(path.name)
    (notes / "work/c.md").unlink()
    report = collection.index(notes / "work")
    assert (report.files, report.new, report.removed) == (1, 1, 1)
    assert report.parts == {str(notes / "work"): str(notes)}
    # The options of the outer folder hold in it.
    assert collection.folders() == {str(notes): Folder(exclude=("*.log",))}
    assert names(collection) == ["a.md", "new too.md"]
    assert collection.index(notes / "new.md").new == 1
    assert list(collection.folders()) == [str(notes)]


def test_an_outer_folder_absorbs_the_inner_one(collection: Collection, notes: Path) -> None:
    collection.index([notes / "work", notes / "a.md"])
    report = collection.index(notes)
    assert (report.new, report.unchanged, report.embedded) == (1, 3, 1)
    assert report.absorbed == dict.fromkeys(map(str, (notes / "work", notes / "a.md")), str(notes))
    assert list(collection.folders()) == [str(notes)]
    assert names(collection) == ["a.md", "b.log", "c.md", "d.log"]
    assert collection.update().unchanged == 4


def test_other_options_are_remembered(collection: Collection, notes: Path) -> None:
    collection.index(notes / "work", exclude=["*.log"])
    collection.index(notes)
    assert collection.folders() == {
        str(notes): Folder(),
        str(notes / "work"): Folder(exclude=("*.log",)),
    }
    assert names(collection) == ["a.md", "b.log", "c.md"]
    # Until they are the same.
    collection.index(notes / "work", exclude=[])
    assert list(collection.folders()) == [str(notes)]
    assert names(collection) == ["a.md", "b.log", "c.md", "d.log"]


def test_a_glob_with_a_slash_counts_from_its_own_folder(
    collection: Collection, notes: Path
) -> None:
    collection.index(notes, exclude=["work/*.log"])
    (notes / "work/e.log").write_text("e")
    assert collection.index(notes / "work").new == 0
    assert names(collection) == ["a.md", "b.log", "c.md"]
    assert list(collection.folders()) == [str(notes)]
    collection.index(notes / "work", exclude=["work/*.log"])
    assert len(collection.folders()) == 2
    assert names(collection) == ["a.md", "b.log", "c.md", "d.log", "e.log"]


def test_what_the_outer_folder_leaves_out_is_remembered(
    collection: Collection, notes: Path
) -> None:
    (notes / ".hidden").mkdir()
    (notes / ".hidden/h.md").write_text("hidden")
    (notes / ".gitignore").write_text("b.log\n")
    collection.index(notes)
    collection.index([notes / ".hidden", notes / "b.log"])
    for _ in range(2):
        assert len(collection.folders()) == 3
        assert names(collection) == ["a.md", "b.log", "c.md", "d.log", "h.md"]
        collection.index(notes)


def test_what_may_be_away_is_remembered_by_itself(collection: Collection, notes: Path) -> None:
    collection.index([notes / "work", notes / "a.md"])
    shutil.move(notes / "work", notes.parent / "away")
    # A disk that is not mounted leaves an empty folder.
    (notes / "work").mkdir()
    report = collection.index(notes)
    assert (report.removed, report.failed) == (0, 1)
    assert list(collection.folders()) == [str(notes), str(notes / "work")]
    assert names(collection) == ["a.md", "b.log", "c.md", "d.log"]


@pytest.mark.parametrize("first", ["notes", "link"])
def test_a_link_to_a_remembered_folder_makes_no_second_documents(
    collection: Collection, notes: Path, first: str
) -> None:
    (notes.parent / "link").symlink_to(notes)
    collection.index(notes.parent / first)
    for path in (notes.parent / "link", notes, notes.parent / "link/work", notes / "work/c.md"):
        assert collection.index(path).new == 0
        assert list(collection.folders()) == [str(notes.parent / first)]
        assert names(collection) == ["a.md", "b.log", "c.md", "d.log"]


def test_a_linked_folder_inside_one_that_comes_later_makes_no_second_documents(
    collection: Collection, notes: Path
) -> None:
    (notes.parent / "link").symlink_to(notes / "work")
    collection.index(notes.parent / "link")
    collection.index(notes)
    assert names(collection) == ["a.md", "b.log", "c.md", "d.log"]
    assert collection.update().unchanged == 4


@pytest.mark.slow
def test_the_command_line_says_so(notes: Path, tmp_path: Path) -> None:
    def index(*arguments: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "jlocal", "index", *arguments, "-d", "n.db"],
            capture_output=True, cwd=tmp_path, check=True, encoding="utf-8",
        )  # fmt: skip
        return done.stderr.splitlines()

    index("notes/work")
    assert index("notes")[-1] == (
        f"  {notes / 'work'} is not remembered by itself any more: it is a part of {notes}."
    )
    assert (
        index("notes/work")[-1]
        == f"  notes/work is a part of {notes}, which is remembered already."
    )
    assert index("-q", "notes/work") == []
