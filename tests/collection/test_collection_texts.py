"""Texts in a collection that a program adds, reads and deletes."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from jlocal import ArgumentError, Collection, CollectionError, Embedder, TextError
from jlocal.collection.names import collection_path

TEXTS = ["The cat sleeps on the sofa.", "Restic makes a backup each night.", "Pasta with garlic."]
IDS = ["cat", "backup", "pasta"]
METADATA = [{"year": 2019}, {"year": 2024, "author": "Ann"}, None]


@pytest.fixture(scope="module")
def model(starter: Embedder) -> Embedder:
    return starter


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "dog.md").write_text("# Animals\n\nThe dog barks at the postman.\n")
    (folder / "tea.md").write_text("Green tea needs water of 80 degrees.\n")
    return folder


def count(collection: Collection, table: str) -> int:
    with closing(sqlite3.connect(collection.path)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_what_is_added_is_found(collection: Collection) -> None:
    assert collection.add(TEXTS, IDS, METADATA) == IDS
    for query, id in (
        ("a sleeping animal", "cat"),
        ("backups", "backup"),
        ("Italian food", "pasta"),
    ):
        hit = collection.search(query)[0]
        assert hit.id == hit.path == id
        assert hit.text == TEXTS[IDS.index(id)]
        assert hit.metadata == METADATA[IDS.index(id)]
        assert hit.state == "current"
        assert hit.page is None


def test_ids_come_from_the_content(collection: Collection) -> None:
    ids = collection.add([*TEXTS, TEXTS[0]])
    assert ids[0] == ids[3]
    assert len(set(ids)) == len(collection) == 3
    assert collection.add(TEXTS[0]) == ids[:1]
    assert len(collection) == 3


def test_an_id_is_replaced(collection: Collection) -> None:
    collection.add(TEXTS, IDS, METADATA)
    collection.add("A stock exchange.", "cat")
    assert len(collection) == 3
    document = collection.get("cat")
    assert document is not None
    assert document.text == "A stock exchange."
    assert document.metadata is None
    assert "sofa" not in " ".join(hit.text for hit in collection.search("cat", n=10))


def test_what_is_embedded_already_is_not_embedded_again(collection: Collection) -> None:
    done: list[int] = []
    collection.add(TEXTS, IDS, on_texts=lambda texts, _: done.append(texts))
    assert sum(done) == 3
    done.clear()
    collection.add(TEXTS, IDS, METADATA, on_texts=lambda texts, _: done.append(texts))
    collection.add(TEXTS, ["1", "2", "3"], on_texts=lambda texts, _: done.append(texts))
    assert sum(done) == 0
    assert len(collection) == 6
    assert collection.get("backup").metadata == METADATA[1]


def test_long_texts_are_cut_as_files_are(collection: Collection) -> None:
    long = "\n\n".join(
        f"# Chapter {number}\n\n" + f"Sentence {number} about cats. " * 40 for number in range(12)
    )
    collection.add(long, "book", chunk=64)
    document = collection.get("book")
    assert document.passages > 12
    # Only white space at the end of passages is not kept.
    assert document.text.split() == long.split()
    assert document.text.count("\n") == long.count("\n")
    with pytest.raises(CollectionError, match="chunks of 64 tokens"):
        collection.add("x", chunk=None)


@pytest.mark.slow
def test_overlaps_are_not_read_twice(tmp_path: Path, notes: Path, model: Embedder) -> None:
    text = "\n".join(f"Line {number} of this long text is about cats." for number in range(200))
    (notes / "long.md").write_text(text)
    with Collection(tmp_path / "overlap.db", model) as collection:
        collection.index(notes, chunk=64, overlap=16)
        assert collection.get(notes / "long.md").text == text


@pytest.mark.slow
def test_whole_texts(collection: Collection) -> None:
    text = "word " * 3000
    collection.add(text, chunk=None)
    (document,) = collection.documents()
    assert document.passages == 1
    with pytest.raises(TextError, match=r"text 1 has .* tokens") as caught:
        collection.add(["fine", "word " * 6000])
    assert caught.value.index == 1


def test_documents_are_files_and_texts(collection: Collection, notes: Path) -> None:
    collection.add(TEXTS, IDS, METADATA)
    collection.index(notes)
    documents = {document.id: document for document in collection.documents()}
    assert len(documents) == len(collection) == 5
    assert [documents[id].kind for id in IDS] == ["text"] * 3
    assert [documents[id].metadata for id in IDS] == METADATA
    dog = documents[str(notes / "dog.md")]
    assert (dog.kind, dog.metadata, dog.passages, dog.text) == ("file", None, 1, None)
    assert collection.get(notes / "dog.md").text == "# Animals\n\nThe dog barks at the postman."
    hit = collection.search("a barking dog", n=1)[0]
    assert (hit.id, hit.metadata, hit.path) == (None, None, str(notes / "dog.md"))


def test_is_in(collection: Collection, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cat" not in collection
    collection.add(TEXTS, IDS)
    collection.index(notes)
    assert "cat" in collection
    assert "dog" not in collection
    assert notes / "dog.md" in collection
    assert str(notes / "dog.md") in collection
    monkeypatch.chdir(notes)
    assert "dog.md" in collection
    assert Path("cat") not in collection
    assert 7 not in collection
    assert "" not in collection
    assert "a\0b" not in collection
    assert collection.get("no such") is None


def test_deletion(collection: Collection, notes: Path) -> None:
    collection.add(TEXTS, IDS)
    collection.index(notes)
    assert collection.delete("cat") == 1
    assert collection.delete(["cat", "no such", "pasta", "pasta"]) == 1
    assert collection.delete(notes / "tea.md") == 1
    assert {document.id for document in collection.documents()} == {
        "backup",
        str(notes / "dog.md"),
    }
    assert {hit.path for hit in collection.search("cat", n=10)} == {
        "backup",
        str(notes / "dog.md"),
    }
    # Their folder still has the file, and nobody else has the texts.
    assert collection.update().new == 1
    assert "cat" not in collection
    # Until then a text that comes again need not be embedded again.
    assert count(collection, "passage") == 5
    collection.compact()
    assert count(collection, "passage") == 3


def test_indexing_leaves_added_texts_alone(collection: Collection, notes: Path) -> None:
    collection.add(TEXTS, IDS)
    collection.index(notes)
    (notes / "tea.md").unlink()
    assert collection.update(prune=True).removed == 1
    assert set(IDS) <= {document.id for document in collection.documents()}


@pytest.mark.slow
def test_deleting_while_going_through(collection: Collection) -> None:
    collection.add([f"text {number}" for number in range(1030)], chunk=None)
    deleted = sum(collection.delete(d.id) for d in list(collection.documents())[:3])
    assert deleted == 3
    for number, document in enumerate(collection.documents()):
        if number < 3:
            collection.delete(document.id)
    assert len(collection) == 1024


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"author": "Ann"}, {"backup"}),
        ({"year": {"$gt": 2018}}, {"cat", "backup"}),
        ({"year": {"$gt": 2020}}, {"backup"}),
        ({"author": {"$ne": "Ann"}}, {"cat", "pasta", "dog.md", "tea.md"}),
        ({"$or": [{"year": 2019}, {"author": "Ann"}]}, {"cat", "backup"}),
        ({"author": "Bob"}, set()),
    ],
)
def test_conditions_on_metadata(
    collection: Collection, notes: Path, where: dict, expected: set[str]
) -> None:
    collection.add(TEXTS, IDS, METADATA)
    collection.index(notes)
    hits = collection.search("anything", n=10, where=where)
    assert {Path(hit.path).name for hit in hits} == expected
    hits = collection.search("anything", n=10, path="c*", where=where)
    assert {hit.path for hit in hits} == expected & {"cat"}


def test_several_queries_at_once(collection: Collection) -> None:
    collection.add(TEXTS, IDS)
    queries = ["a sleeping animal", "backups"]
    hits = collection.search(queries, n=2)
    for found, query in zip(hits, queries, strict=True):
        alone = collection.search(query, n=2)
        assert [hit.id for hit in found] == [hit.id for hit in alone]
        assert found[0].score == pytest.approx(alone[0].score, abs=1e-3)
    assert collection.search([]) == []
    assert collection.search(("backups",), n=1)[0][0].id == "backup"
    with pytest.raises(ArgumentError, match="the query is empty"):
        collection.search(["cat", " "])


def test_one_set_of_metadata_for_all(collection: Collection) -> None:
    collection.add(TEXTS, metadata={"source": "test"})
    assert [d.metadata for d in collection.documents()] == [{"source": "test"}] * 3


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ((["a", ""],), TextError, "text 1 is empty"),
        ((["a", " \n"],), TextError, "text 1 is empty"),
        ((["a", None],), TextError, "text 1 is missing"),
        ((["\ud800"],), TextError, "text 0 has a lone surrogate"),
        ((["a", "b"], ["1"]), ArgumentError, "1 ids for 2 texts"),
        ((["a", "b"], None, [{}]), ArgumentError, "1 metadata for 2 texts"),
        ((["a", "b"], ["1", "1"]), ArgumentError, "the id '1' comes twice"),
        (("a", ""), ArgumentError, "cannot be an id"),
        (("a", [7]), ArgumentError, "the id 7 is of type int"),
        (("a", "x\0"), ArgumentError, "cannot be an id"),
        (("a", "x" * 1025), ArgumentError, "cannot be an id"),
        (("a", "\udc80"), ArgumentError, "lone surrogate"),
        (("a", "/etc/passwd"), ArgumentError, "absolute path"),
        (("a", "C:\\notes.txt"), ArgumentError, "absolute path"),
        (("a", None, {"x": []}), ArgumentError, "metadata 'x' is of type list"),
    ],
)
def test_nothing_is_added_of_what_is_wrong(
    collection: Collection, arguments: tuple, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        collection.add(*arguments)
    assert len(collection) == 0
    assert not collection.path.exists()


def test_a_new_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    with Collection() as collection:
        assert repr(collection) == f"Collection({str(collection_path())!r})"
        assert len(collection) == 0
        assert collection
        assert "x" not in collection
        assert not collection.path.exists()
        with pytest.raises(CollectionError):
            collection.get("x")
        with pytest.raises(CollectionError):
            collection.delete("x")
        # The default model of `Embedder()`.
        collection.add("The cat sleeps.", "cat")
        assert collection.search("kitten")[0].id == "cat"
    with Collection("default") as again:
        assert again.get("cat").text == "The cat sleeps."


def test_closed(collection: Collection) -> None:
    collection.add(TEXTS, IDS)
    collection.close()
    assert repr(collection).startswith("Collection(")
    for use in (
        lambda: len(collection), lambda: "x" in collection, lambda: collection.get("x"),
        lambda: collection.add("x"), lambda: collection.delete("x"),
        lambda: list(collection.documents()),
    ):  # fmt: skip
        with pytest.raises(CollectionError, match="closed"):
            use()


@pytest.mark.slow
def test_threads_add_and_search(collection: Collection) -> None:
    errors: list[BaseException] = []
    collection.add("the first text", "first")

    def work(number: int) -> None:
        try:
            for step in range(3):
                collection.add(f"text {step} of thread {number}", f"{number}-{step}", wait=60)
                assert collection.search("text", n=1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    assert len(collection) == 13


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE document SET metadata = '[1]'", "metadata of a document"),
        ("UPDATE document SET metadata = '{'", "metadata of a document"),
        ("UPDATE document SET metadata = x'00'", "metadata of a document"),
        # No JSON for other programs, or more than anybody may add.
        ("UPDATE document SET metadata = '{\"year\": NaN}'", "metadata of a document"),
        ("UPDATE document SET metadata = '{\"year\": [[1]]}'", "metadata of a document"),
        ('UPDATE document SET metadata = \'{"a": "\\ud800"}\'', "metadata of a document"),
        (
            "UPDATE document SET metadata = '{\"a\": \"' || hex(zeroblob(40000)) || '\"}'",
            "metadata of a document",
        ),
        ("UPDATE document SET is_added = 7", "neither a file nor a text"),
        ("UPDATE document SET path = '' WHERE path = 'cat'", "the path of a document"),
        ("UPDATE passage SET text = 'another'", "the text of a passage"),
        ("UPDATE chunk SET start = 'x'", "in no lines"),
        ("UPDATE chunk SET first_line = -5", "in no lines"),
    ],
)
def test_values_are_checked_when_they_are_read(
    collection: Collection, statement: str, reason: str
) -> None:
    collection.add(TEXTS, IDS, METADATA)
    with closing(sqlite3.connect(collection.path)) as connection:
        connection.execute(statement)
        connection.commit()
    with pytest.raises(CollectionError, match=f"is damaged: .*{reason}"):
        [collection.get(document.id) for document in collection.documents()]
    if "metadata" in reason:
        with pytest.raises(CollectionError, match=reason):
            collection.search("x", where={"year": 2019})


@pytest.mark.slow
def test_a_rebuild_takes_added_texts_over(
    collection: Collection, notes: Path, model: Embedder
) -> None:
    long = "\n\n".join(f"Paragraph {number} is about cats. " * 8 for number in range(20))
    collection.add([*TEXTS, long], [*IDS, "long"], [*METADATA, {"long": True}], chunk=64)
    before = {d.id: (d.metadata, collection.get(d.id).text) for d in collection.documents()}
    collection.index(notes)
    collection.index(rebuild=True, chunk=128)
    after = {d.id: collection.get(d.id) for d in collection.documents()}
    assert len(after) == 6
    for id, (metadata, text) in before.items():
        assert (after[id].metadata, after[id].kind) == (metadata, "text")
        assert after[id].text.split() == text.split()
    most = model.max_seq_length
    model.max_seq_length = 100
    try:
        with pytest.raises(CollectionError, match="made anew: the added text long has"):
            collection.index(rebuild=True, chunk=None)
    finally:
        model.max_seq_length = most
    assert len(collection) == 6


def test_the_picture_and_the_export_name_added_texts_by_their_ids(
    collection: Collection, notes: Path, tmp_path: Path
) -> None:
    from jlocal.collection.export import export
    from jlocal.map.picture import draw

    ids = ["mail/1", "page.html", "report.pdf"]
    collection.add(TEXTS, ids)
    collection.index(notes)
    export(collection.path, tmp_path / "out.jsonl", "jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    added = {row["id"]: row for row in rows if row["id"] in ids}
    assert added.keys() == set(ids)
    assert all(row["page"] is row["first_line"] is None for row in added.values())
    picture = draw(collection.path)
    assert {passage.path for passage in picture.passages} == {*ids, "dog.md", "tea.md"}
    assert "mail/" in picture.groups
    assert len(collection) == collection.status().documents
    assert collection.status().added == 3
