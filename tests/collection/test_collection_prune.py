"""What a run removes, what it does not believe to be gone, and what a collection keeps of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, CollectionError, Embedder
from jlocal.collection.database.batch import Batch
from jlocal.collection.database.store import Store
from jlocal.collection.export import open_rows
from jlocal.collection.search.ranking import search
from jlocal.map.picture import draw
from support.collection_files import by_hand, check

NAMES = ("new", "changed", "unchanged", "removed", "failed", "embedded", "kept")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.md", "b.md", "sub/c.md"):
        (folder / name).write_text(f"This is {name}.\n")
    return folder


@pytest.fixture
def index(tmp_path: Path, model: Embedder, notes: Path) -> Callable[..., dict[str, int]]:
    """Index, and return the counts that are not zero."""

    def run(*paths: str | Path, **options: object) -> dict[str, int]:
        with Collection(tmp_path / "notes.db", model) as collection:
            report = collection.index(paths or [notes], **options)
            run.reasons = [failure.reason for failure in report.failures]
        check(tmp_path / "notes.db")
        return {name: getattr(report, name) for name in NAMES if getattr(report, name)}

    return run


@pytest.fixture
def found(tmp_path: Path, model: Embedder) -> Callable[[], set[str]]:
    """Return the names of all documents that a search finds."""

    def names() -> set[str]:
        with Collection(tmp_path / "notes.db", model) as collection:
            return {Path(hit.path).name for hit in collection.search("this", n=100)}

    return names


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


def become_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("This is a file.")


@pytest.mark.parametrize("change", [empty, hide, ignore, break_links, become_a_file])
def test_a_folder_without_files_removes_nothing(change, index, found, notes: Path) -> None:
    index()
    change(notes)
    assert "removed" not in (counts := index())
    assert counts["failed"]
    assert any("documents are kept" in reason or "is missing" in reason for reason in index.reasons)
    assert found() - {"notes"} == ALL


@pytest.mark.parametrize("change", [empty, hide, ignore])
def test_pruning_removes_the_documents_of_a_folder_without_files(change, index, notes) -> None:
    index()
    change(notes)
    assert index(prune=True) == {"removed": 3, "kept": 3}
    assert index() == {"failed": 1, "kept": 3}


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


def test_changed_and_unreadable_documents_come_back_without_embedding(index, notes) -> None:
    index()
    (notes / "a.md").write_text("")
    assert index() == {"unchanged": 2, "removed": 1, "kept": 1}
    (notes / "b.md").write_bytes(b"\0")
    assert index() == {"unchanged": 1, "failed": 1, "kept": 2}
    for name in ("a.md", "b.md"):
        (notes / name).write_text(f"This is {name}.\n")
    assert index() == {"new": 2, "unchanged": 1}


def test_removed_documents_are_seen_nowhere(tmp_path: Path) -> None:
    """Neither by a search, nor by what reads a collection for something else."""
    path = by_hand(tmp_path / "c.db", ("/n/a.md", ["one", "two"]), ("/n/b.md", ["two", "three"]))
    store = Store(path)
    ((_, vectors),) = store.vectors()
    store.write(Batch(removed=["/n/a.md"]))
    check(path)
    store.use_path_filter(lambda _: True)
    assert store.count_passages() == len(store.passages_under()) == 2
    assert [len(ids) for ids, _ in store.vectors()] == [2]
    assert [len(ids) for ids, _ in store.codes()] == [2]
    for exact in (True, False):
        hits = search(store, vectors[0], 10, exact=exact)
        assert [hit.path for hit in hits] == ["/n/b.md"] * 2
    store.close()
    with open_rows(path) as (_, rows):
        assert [row.text for row in rows] == ["two", "three"]
    assert draw(path).total == 2
    store = Store(path)
    store.write(Batch(removed=["/n/b.md"]))
    assert search(store, vectors[0], 10) == []
    store.close()
    for read in (lambda: open_rows(path).__enter__(), lambda: draw(path)):
        with pytest.raises(CollectionError, match="is empty; index files"):
            read()


def test_removed_documents_do_not_crowd_out_others(tmp_path: Path, monkeypatch) -> None:
    """They would fill the candidates of the first look if their signs were still looked at."""
    texts = [str(number) for number in range(400)]
    path = by_hand(tmp_path / "c.db", ("/n/gone.md", texts), ("/n/left.md", ["left"]))
    store = Store(path)
    (near,) = [vectors[-1] for _, vectors in store.vectors()]
    store.write(Batch(removed=["/n/gone.md"]))
    monkeypatch.setattr("jlocal.collection.search.ranking._CANDIDATES", 1)
    monkeypatch.setattr("jlocal.collection.search.ranking._DIMENSIONS", 1)
    looked_at: list[int] = []
    real = Store.vectors

    def vectors(self, ids=None):
        looked_at.append(-1 if ids is None else len(ids))
        return real(self, ids)

    monkeypatch.setattr(Store, "vectors", vectors)
    (hit,) = search(store, -near, 1, exact=False)
    assert hit.text == "left"
    # The candidate, and the passages taken evenly, of which there is one as well.
    assert looked_at == [1, 1]
    store.close()


@pytest.mark.slow
def test_compacting_deletes_what_is_kept_and_gives_space_back(
    tmp_path: Path, model: Embedder
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.md").write_text(f"A secret, number {number}. " * 20)
    (folder / "a.txt").write_text("Anything else.")
    database = tmp_path / "c.db"
    with Collection(database, model) as collection:
        collection.index(folder, include=["a.txt", "*.md"])
        assert collection.index(folder, include=["a.txt"]).kept == 300
        assert any(b"A secret" in path.read_bytes() for path in tmp_path.glob("c.db*"))
        before = sum((tmp_path / name).stat().st_size for name in ("c.db", "c.db-wal"))
        report = collection.compact()
        assert report.texts == 300
        assert report.reason is None
        assert report.freed > before / 2
        assert database.stat().st_size + report.freed == before
        for path in tmp_path.glob("c.db*"):
            assert b"A secret" not in path.read_bytes()
        assert [Path(hit.path).name for hit in collection.search("x")] == ["a.txt"]
        assert collection.compact().texts == 0
        assert collection.index(folder, include=["a.txt", "1.md"]).embedded == 1
    check(database)


def test_compacting_while_another_reads(tmp_path: Path) -> None:
    texts = [f"A secret, number {number}. " * 20 for number in range(300)]
    path = by_hand(tmp_path / "c.db", ("/n/gone.md", texts), ("/n/left.md", ["left"]))
    store = Store(path)
    store.write(Batch(removed=["/n/gone.md"]))
    store.close()
    reader = Store(path)
    with Collection(path) as collection, reader.snapshot():
        assert reader.count_passages() == 1
        report = collection.compact()
        assert (report.texts, report.freed) == (300, 0)
        assert "is reading it" in report.reason
        assert [len(ids) for ids, _ in reader.vectors()] == [1]
    reader.close()
    check(path)
    with Collection(path) as collection:
        report = collection.compact()
        assert (report.texts, report.reason) == (0, None)
        assert report.freed > 100_000


def test_compacting_without_room(tmp_path: Path, monkeypatch) -> None:
    texts = [f"A secret, number {number}. " * 20 for number in range(300)]
    path = by_hand(tmp_path / "c.db", ("/n/gone.md", texts), ("/n/left.md", ["left"]))
    store = Store(path)
    store.write(Batch(removed=["/n/gone.md"]))
    store.close()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        "jlocal.collection.database.compact.shutil.disk_usage",
        lambda _: usage._replace(free=100_000),
    )
    with Collection(path) as collection:
        report = collection.compact()
    assert (report.texts, report.freed) == (300, 0)
    assert "free" in report.reason
    # The texts are overwritten where they were.
    assert b"A secret" not in path.read_bytes()
    check(path)


def test_another_recipe_does_not_throw_away_what_is_kept(index, notes, tmp_path) -> None:
    index()
    shutil.rmtree(notes)
    assert index(prune=True) == {"removed": 3, "kept": 3}
    notes.mkdir()
    (notes / "a.md").write_text("This is a.md.\n")
    with pytest.raises(CollectionError, match="cannot be mixed in"):
        index(chunk=64)
    assert index() == {"new": 1, "kept": 2}
    (notes / "a.md").unlink()
    index(prune=True)
    with Collection(tmp_path / "notes.db") as collection:
        assert collection.compact().texts == 3
    (notes / "a.md").write_text("This is a.md.\n")
    assert index(chunk=64) == {"new": 1, "embedded": 1}


@pytest.mark.slow
def test_a_model_that_moved_does_not_throw_away_what_is_kept(
    index, notes: Path, tmp_path: Path, model_file: Path
) -> None:
    index()
    notes.rename(tmp_path / "x")
    index(prune=True)
    (tmp_path / "x").rename(notes)
    moved = tmp_path / "moved.gguf"
    shutil.copy(model_file, moved)
    with Collection(tmp_path / "notes.db", moved) as collection:
        assert collection.index(notes).embedded == 0


def test_a_file_of_the_first_version(tmp_path: Path, model: Embedder) -> None:
    """What was written before removed documents were kept: unused texts have codes."""
    texts = [f"text {number}" for number in range(40)]
    path = by_hand(tmp_path / "c.db", ("/n/a.md", texts[:20]), ("/n/b.md", texts[20:]))
    store = Store(path)
    with store._transaction() as connection:
        connection.execute("DELETE FROM document WHERE path = '/n/a.md'")
        connection.execute("DELETE FROM content WHERE id NOT IN (SELECT content_id FROM document)")
    assert store.count_passages() == 40
    store.settle()
    assert store.count_passages() == 20
    assert store.count_kept() == 20
    store.close()
    check(path)


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


def test_removed_passages_have_the_same_vectors_when_they_come_back(tmp_path: Path) -> None:
    documents = ("/n/a.md", ["one", "two"]), ("/n/b.md", ["two", "three"])
    path = by_hand(tmp_path / "c.db", *documents)
    store = Store(path)
    before = {id: v for ids, vs in store.vectors() for id, v in zip(ids, vs, strict=True)}
    entries = store.stamp("/n/a.md")
    store.write(Batch(removed=["/n/a.md", "/n/b.md"]))
    check(path)
    store.close()
    assert entries
    by_hand(path, *documents)
    check(path)
    store = Store(path)
    after = {id: v for ids, vs in store.vectors() for id, v in zip(ids, vs, strict=True)}
    assert before.keys() == after.keys()
    for id, vector in before.items():
        np.testing.assert_array_equal(vector, after[id])
    store.close()


def test_the_collection_itself_is_not_indexed_through_a_link(index, found, notes: Path) -> None:
    (notes / "up").symlink_to("..")
    assert index() == {"new": 3, "embedded": 3}
    assert found() == ALL
    assert index() == {"unchanged": 3}
