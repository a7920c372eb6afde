"""Passages of removed documents: kept for when they come back, seen by nobody, compacted away."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, CollectionError, Embedder
from jlocal.collection.database.batch import Batch
from jlocal.collection.database.store import Store
from jlocal.collection.export import open_rows
from jlocal.collection.search.nearest import nearest_by_codes
from jlocal.collection.search.ranking import search
from jlocal.map.picture import draw
from support.collection_files import CountingStore, by_hand, check


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


def test_removed_documents_do_not_crowd_out_others(tmp_path: Path) -> None:
    """They would fill the candidates of the first look if their signs were still looked at."""
    texts = [str(number) for number in range(400)]
    path = by_hand(tmp_path / "c.db", ("/n/gone.md", texts), ("/n/left.md", ["left"]))
    store = CountingStore(path)
    ((ids, vectors),) = store.vectors()
    store.write(Batch(removed=["/n/gone.md"]))
    store.counts.clear()
    (nearest,), *_ = nearest_by_codes(store, -vectors[-1], None, 1)
    assert nearest == ids[-1]
    # The candidate, and the passages taken evenly, of which there is one as well.
    assert store.counts == [1, 1]
    (hit,) = search(store, -vectors[-1], 1, exact=False)
    assert hit.text == "left"
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
