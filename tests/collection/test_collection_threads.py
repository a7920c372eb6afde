"""A collection is used from many threads, and says so when it was closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jlocal import Collection, CollectionError, Embedder
from support.collection_files import check

PATIENCE = 120
FILES = 2  # of a connection: the collection and its log


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.md").write_text(f"This is number {number}. " * 5)
    return folder


@pytest.fixture
def database(tmp_path: Path, notes: Path, model: Embedder) -> Path:
    """Return a collection of 10 of the notes."""
    path = tmp_path / "notes.db"
    with Collection(path, model) as collection:
        assert collection.index([notes / f"{number}.md" for number in range(10)]).new == 10
    return path


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Do something in as many threads, which all begin together; the first error is raised."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> object:
        barrier.wait(PATIENCE)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(begin, number) for number in range(count)]
        return [future.result(PATIENCE) for future in futures]


@pytest.mark.slow
def test_eight_threads_search_while_one_indexes(database, notes, model) -> None:
    with Collection(database, model) as collection:

        def work(number: int) -> object:
            if number == 8:
                for end in (20, 40, 60):
                    collection.index([notes / f"{number}.md" for number in range(end)])
                return collection.made_with()
            counts = []
            for _ in range(15):
                hits = collection.search("number", n=100, path="?.md" if number % 2 else None)
                assert len({hit.path for hit in hits}) == len(hits)
                counts.append(len(hits))
            if number % 2:
                assert set(counts) == {10}
            assert counts == sorted(counts), "what was found once is found again"
            return min(counts) >= 10

        assert all(at_once(9, work))
        assert len(collection.search("number", n=100)) == 60
    check(database)
    assert not list(database.parent.glob("notes.db-*"))


def test_two_threads_index_one_after_the_other(tmp_path: Path, notes: Path, model) -> None:
    with Collection(tmp_path / "c.db", model) as collection:
        reports = at_once(2, lambda _: collection.index(notes, wait=PATIENCE))
    assert sorted((report.new, report.unchanged) for report in reports) == [(0, 60), (60, 0)]
    check(tmp_path / "c.db")


def test_threads_load_the_model_once(database: Path, monkeypatch) -> None:
    loaded = []
    real = Embedder.__init__

    def init(self, *arguments, **options) -> None:
        loaded.append(threading.get_ident())
        real(self, *arguments, **options)

    monkeypatch.setattr(Embedder, "__init__", init)
    with Collection(database) as collection:
        found = at_once(8, lambda _: len(collection.search("number")))
    assert (found, len(loaded)) == ([10] * 8, 1)


def test_a_closed_collection_says_so(database: Path, notes: Path, model: Embedder) -> None:
    collection = Collection(database, model)
    assert collection.search("number")
    collection.close()
    collection.close()
    for use in (
        lambda: collection.search("number"),
        lambda: collection.index(notes),
        lambda: collection.compact(),
        lambda: collection.made_with(),
        lambda: collection.model_file(),
        lambda: collection.check_model(),
        lambda: collection.config,
        lambda: collection.__enter__(),
    ):
        with pytest.raises(CollectionError, match="db is closed; make a new"):
            use()
    never_opened = Collection(database.with_name("none.db"), model)
    never_opened.close()
    with pytest.raises(CollectionError, match="is closed"):
        never_opened.index(notes)
    assert not never_opened.path.exists()
    assert model.encode("The model is another's, and is still open.").shape


@pytest.mark.parametrize("own", [False, True])
def test_closing_while_threads_search(own: bool, database: Path, model: Embedder) -> None:
    collection = Collection(database, None if own else model)
    begun = threading.Semaphore(0)

    def work(number: int) -> str:
        if number == 8:
            for _ in range(8):
                assert begun.acquire(timeout=PATIENCE)
            collection.close()
        try:
            while True:
                collection.search("number")
                begun.release()
        except CollectionError as error:
            return str(error)

    assert set(at_once(9, work)) == {f"{database} is closed; make a new Collection"}
    assert not list(database.parent.glob("notes.db-*"))


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_closing_ends_an_index_and_keeps_what_was_computed(
    own: bool, tmp_path: Path, notes: Path, model: Embedder, model_file: Path
) -> None:
    for number in range(60, 400):
        (notes / f"{number}.md").write_text(f"This is number {number}. " * 5)
    collection = Collection(tmp_path / "c.db", model_file if own else model)
    done = 0

    def on_texts(texts: int, tokens: int) -> None:
        nonlocal done
        done += texts
        if done > 300:
            closing = threading.Thread(target=collection.close)
            closing.start()
            closing.join(PATIENCE)

    with pytest.raises(CollectionError, match="is closed"):
        collection.index(notes, on_texts=on_texts)
    check(tmp_path / "c.db")
    with Collection(tmp_path / "c.db", model) as again:
        report = again.index(notes)
    assert report.new + report.unchanged == 400
    assert 0 < report.embedded <= 400 - 256


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_threads_that_end_leave_nothing_open(database: Path, model: Embedder) -> None:
    with Collection(database, model) as collection:
        at_once(4, lambda _: collection.search("number"))
        before = open_files()
        for _ in range(30):
            at_once(2, lambda _: collection.search("number"))
        assert open_files() <= before + 2 * FILES
        for _ in range(5):
            at_once(30, lambda _: collection.search("number"))
        # SQLite closes a file only when no other connection of the process locks it.
        assert open_files() <= before + 30 * FILES


def test_a_file_that_was_replaced_is_read_anew(database, notes: Path, model: Embedder) -> None:
    with Collection(database, model) as collection:
        assert len(collection.search("number", n=100)) == 10
        database.unlink()
        with pytest.raises(CollectionError, match="no such file"):
            collection.search("number")
        with Collection(database, model) as other:
            other.index(notes / "1.md")
        assert len(collection.search("number", n=100)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_told_to_open_its_own(database: Path, model: Embedder) -> None:
    with Collection(database, model) as collection:
        assert collection.search("number")
        read, write = os.pipe()
        if not (child := os.fork()):
            try:
                collection.search("number")
            except CollectionError as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(write)
        said = os.read(read, 1000).decode()
        os.close(read)
        assert "across fork; open it in the new process" in said
        assert collection.search("number")
