"""A collection remembers its folders: what is kept up to date, and what is forgotten."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jlocal import Collection, CollectionError
from jlocal.collection.database.values import DamagedError
from jlocal.collection.index.folders import Folder
from jlocal.errors import EmptyCollectionError, InsideFolderError


def names(collection: Collection) -> set[str]:
    return {Path(hit.path).name for hit in collection.search("this", 100)}


def test_update_needs_no_paths(collection: Collection, notes: Path, monkeypatch) -> None:
    collection.index(notes, exclude=["*.log"])
    (notes / "new.md").write_text("new")
    (notes / "work/c.md").write_text("changed")
    (notes / "a.md").unlink()
    monkeypatch.chdir(notes.parent.parent)
    report = collection.update()
    assert (report.new, report.changed, report.removed, report.failed) == (1, 1, 1, 0)
    assert names(collection) == {"c.md", "new.md"}
    assert collection.update().unchanged == 2


def test_filters_stay_until_others_are_given(collection: Collection, notes: Path) -> None:
    collection.index(notes, exclude=["*.log"])
    assert collection.folders() == {str(notes): Folder(exclude=("*.log",))}
    # What is not said stays.
    assert collection.index(notes).unchanged == 2
    collection.index(notes, include=["*.log"])
    assert collection.folders() == {str(notes): Folder(include=("*.log",))}
    assert names(collection) == {"b.log", "d.log"}
    collection.index(notes, include=[])
    assert collection.folders() == {str(notes): Folder()}
    assert names(collection) == {"a.md", "b.log", "c.md", "d.log"}


@pytest.mark.slow
def test_the_filters_of_an_inner_folder_decide_there(collection: Collection, notes: Path) -> None:
    collection.index(notes, exclude=["*.log"])
    collection.index(notes / "work", exclude=["*.md"])
    assert names(collection) == {"a.md", "d.log"}
    # Whoever asks for the outer folder gets the inner one too, as it is remembered.
    (notes / "work/e.log").write_text("e")
    for _ in range(2):
        collection.index(notes)
        assert names(collection) == {"a.md", "d.log", "e.log"}
        collection.update()
    # A file is one document, and a file that was named is taken whatever the filters say.
    collection.index(notes / "b.log")
    collection.update()
    assert names(collection) == {"a.md", "b.log", "d.log", "e.log"}


def test_an_encoding_is_remembered(collection: Collection, notes: Path) -> None:
    (notes / "a.md").write_bytes("Crème brûlée".encode("cp850"))
    assert collection.index(notes, encoding="cp850").failed == 0
    (notes / "f.md").write_bytes("Käse".encode("cp850"))
    assert collection.update().failed == 0
    assert {"Crème brûlée", "Käse"} <= {hit.text for hit in collection.search("x", 9)}


@pytest.mark.slow
def test_a_folder_that_is_missing_stops_no_other(collection: Collection, tmp_path: Path) -> None:
    for name in ("disk", "home"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.md").write_text(name)
        collection.index(tmp_path / name)
    (tmp_path / "disk").rename(tmp_path / "away")
    (tmp_path / "home/more.md").write_text("more")
    report = collection.update()
    assert (report.new, report.failed) == (1, 1)
    assert report.failures[0].id == str(tmp_path / "disk")
    assert names(collection) == {"disk.md", "home.md", "more.md"}
    # An empty one is a disk that is not mounted.
    (tmp_path / "disk").mkdir()
    assert collection.update().failed == 1
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "away").rename(tmp_path / "disk")
    assert collection.update().failed == 0
    # Who says so loses it.
    shutil.rmtree(tmp_path / "disk")
    assert collection.update(prune=True).removed == 1
    assert list(collection.folders()) == [str(tmp_path / "home")]


def test_deleted_files_that_were_named_are_forgotten(collection: Collection, notes: Path) -> None:
    collection.index([notes / "a.md", notes / "b.log"])
    collection.index(notes / "work")
    (notes / "a.md").unlink()
    report = collection.update()
    assert (report.removed, report.failed) == (1, 0)
    assert report.forgotten == [str(notes / "a.md")]
    assert names(collection) == {"b.log", "c.md", "d.log"}
    # One that is named now is another matter.
    (notes / "b.log").unlink()
    report = collection.index(notes / "b.log")
    assert (report.removed, report.failed) == (0, 1)
    # A folder in a folder that is there was deleted, too.
    collection.index(notes / "work", exclude=["*.tmp"])
    assert collection.index(notes).removed == 1
    shutil.rmtree(notes / "work")
    (notes / "g.md").write_text("g")
    report = collection.update()
    assert (report.removed, report.failed) == (2, 0)
    assert list(collection.folders()) == [str(notes)]


def test_what_does_not_exist_is_not_remembered(collection: Collection, notes: Path) -> None:
    assert collection.index([notes, notes / "none"]).failed == 1
    assert list(collection.folders()) == [str(notes)]


def test_a_collection_without_folders(collection: Collection, notes: Path) -> None:
    with pytest.raises(CollectionError, match=r"no such file"):
        collection.update()
    collection.index(notes)
    collection.forget(notes)
    with pytest.raises(CollectionError, match="remembers no folders"):
        collection.update()


def test_forgetting(collection: Collection, notes: Path, tmp_path: Path) -> None:
    collection.index(notes)
    with pytest.raises(InsideFolderError, match="is a part of"):
        collection.forget(notes / "work")
    with pytest.raises(CollectionError, match="is not in this collection, which remembers /"):
        collection.forget(tmp_path / "other")
    collection.index(notes / "work", include=["c*", "d*"])
    # It stays a part of the outer folder.
    assert collection.forget(notes / "work") == 0
    assert names(collection) == {"a.md", "b.log", "c.md", "d.log"}
    shutil.rmtree(notes)
    assert collection.forget(notes) == 4
    assert collection.folders() == {}
    with pytest.raises(EmptyCollectionError):
        collection.search("this")


def test_options_of_a_folder_from_elsewhere() -> None:
    good = Folder(("*.md",), ("x",), gitignore=False, large=True, encoding="cp850")
    options = json.loads(json.dumps(good.to_options()))
    assert Folder.of(options) == good
    for bad in (
        {}, {"include": "*"}, {"include": [1]}, {"gitignore": 1}, {"encoding": "no such"},
        {"encoding": 3}, {"more": 1}, {"exclude": None},
    ):  # fmt: skip
        with pytest.raises(DamagedError):
            Folder.of(options | bad if bad else {})
