"""Words of passages and paths: found in all scripts, and kept with the passages."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jlocal import CollectionError
from jlocal.collection.chunking.chunks import whole
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.connect import translated_errors
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of, digest_of_passage
from support.collection_files import by_hand, check

TEXTS = {
    "Japanese": "私は黒猫が好きです。東京タワー",
    "Chinese": "我喜欢吃苹果",
    "Thai": "กินข้าวที่บ้าน แมวดำ",
    "Lao": "ປະເທດລາວ",
    "Khmer": "ប្រទេសកម្ពុជា ភាសាខ្មែរ",
    "Burmese": "မြန်မာနိုင်ငံ",
    "Korean": "한국어 검색은 어렵다",
    "Hindi": "मेरा नाम हिन्दी है",
    "Greek": "Η ΑΘΉΝΑ είναι πόλη",
    "Arabic": "كِتَابٌ جميل",
    "German": "Die Größe der Äpfel",
    "Russian": "зелёный дом",
    "code": "foo_bar(x) -> C++",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("words") / "c.db"
    by_hand(path, *((f"/n/{name} note.md", [text]) for name, text in TEXTS.items()))
    with closing(Store(path)) as opened:
        yield opened


def found(store: Store, query: str) -> list[str]:
    return [store.text(int(id))[1] for id in store.words(query).best(1000)]


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("黒猫", "Japanese"), ("猫", "Japanese"), ("東京", "Japanese"), ("タワー", "Japanese"),
        ("苹果", "Chinese"), ("果", "Chinese"), ("แมว", "Thai"), ("ข้าว", "Thai"),
        ("ລາວ", "Lao"), ("ខ្មែរ", "Khmer"), ("កម្ពុជា", "Khmer"), ("မြန်မာ", "Burmese"),
        ("한국", "Korean"), ("검색", "Korean"), ("हिन्दी", "Hindi"), ("αθηνα", "Greek"),
        ("كتاب", "Arabic"), ("apfel", "German"), ("GRÖSSE", "German"), ("зеленый", "Russian"),
        ("bar", "code"), ("e\u0301 A\u0308pfel", "German"), ("ﾀﾜｰ", "Japanese"),
    ],
)  # fmt: skip
def test_words_of_all_scripts(store: Store, query: str, language: str) -> None:
    assert found(store, query)[:1] == [TEXTS[language]]


@pytest.mark.parametrize(
    "query",
    ["", " ", "\0", '"', '""', "*", "^", "-", "()", "NEAR", "NOT", "AND OR", "🎉", "。、", "\ud800",
     "heading:", "{a b}:", "+", "'", "\u200d"],
)  # fmt: skip
def test_what_has_no_words_finds_nothing(store: Store, query: str) -> None:
    assert len(store.words(query).best(1000)) == 0
    assert len(store.path_words(query).best(1000)) == 0


@pytest.mark.parametrize(
    "query",
    ['"apfel', "apfel*", "NEAR(apfel)", "apfel AND", "-apfel", "^apfel", "(apfel", "text:apfel",
     "apfel\0", "\ud800apfel", "🎉 apfel", "apfel OR (", "apfel'); DROP TABLE words;--"],
)  # fmt: skip
def test_nothing_in_a_query_is_syntax(store: Store, query: str) -> None:
    assert TEXTS["German"] in found(store, query)


@pytest.mark.slow
def test_any_query_is_answered(store: Store) -> None:
    from hypothesis import given
    from hypothesis import strategies as st

    @given(st.text(alphabet=st.characters(), max_size=40))
    def check_query(query: str) -> None:
        assert set(found(store, query)) <= set(TEXTS.values())

    check_query()


@pytest.mark.slow
def test_a_megabyte_of_query(store: Store) -> None:
    assert TEXTS["German"] in found(store, "apfel " + "x" * 1_000_000)
    assert TEXTS["German"] in found(store, "apfel " + " ".join(map(str, range(100_000))))


def test_paths_have_words(store: Store) -> None:
    assert len(store.path_words("german").best(1000)) == 1
    assert len(store.path_words("note").best(1000)) == len(TEXTS)


def test_words_go_and_come_with_documents(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "c.db", ("/n/a.md", ["zebra", "dog"]), ("/n/b.md", ["zebra"]))
    with closing(Store(path)) as store:
        store.write(Batch(removed=["/n/a.md"]))
        assert found(store, "zebra dog") == ["zebra"]
        assert len(store.path_words("a md").best(1000)) == 1
        check(path)
        digest = digest_of("dog")
        again = Entry("/n/c.md", None, digest_of("again"), [(0, whole("dog"), digest)])
        store.write(Batch(entries=[again]))
        assert found(store, "dog") == ["dog"]
        check(path)
        store.write(Batch(removed=["/n/b.md"]))
        store.delete_kept()
        assert found(store, "zebra dog") == ["dog"]
    check(path)
    # Nothing of the deleted word is left in the file.
    store = Store(path)
    store.vacuum()
    store.checkpoint()
    store.close()
    assert b"zebra" not in path.read_bytes()


def test_headings_have_words_and_make_another_passage(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "c.db", ("/n/a.md", ["same text"]))
    vector = next(iter(Store(path).vectors()))[1][0]
    digest = digest_of_passage("Garden\nRoses", "same text")
    assert digest_of_passage("", "same text") == digest_of("same text")
    with closing(Store(path)) as store:
        chunk = whole("same text")
        store.write(
            Batch(
                {digest: ("Garden\nRoses", "same text", vector)},
                [Entry("/n/b.md", None, digest, [(0, chunk, digest)])],
            )
        )
        (id,) = store.words("roses").best(1000).tolist()
        assert store.text(id) == ("Garden\nRoses", "same text")
        assert len(store.words("same").best(1000)) == 2
    check(path)


def test_only_allowed_passages(store: Store) -> None:
    ids = store.words("note apfel 苹果 猫").best(1000)
    assert len(ids) == 3
    assert store.words("note apfel 苹果 猫", ids[1:2]).best(1000).tolist() == ids[1:2].tolist()


def test_words_that_are_missing_are_missed_and_come_back(tmp_path: Path) -> None:
    """As where an indexer of the version before was at work while this one migrated the file."""
    path = by_hand(tmp_path / "c.db", ("/n/a.md", ["cat", "dog"]))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
        connection.commit()
    with closing(Store(path)) as store, pytest.raises(CollectionError, match="lacks words"):
        store.words("cat")
    with closing(Store(path)) as store:
        store.settle()
        assert found(store, "cat") == ["cat"]
    check(path)


def test_folders_are_remembered(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "c.db", ("/n/a.md", ["cat"]))
    with closing(Store(path)) as store:
        store.set_folders({"/n": {"exclude": ["*.log"]}, "/\udcff": {}})
        store.set_folders({"/n": {"include": ["*.md"]}})
    with closing(Store(path)) as store:
        assert store.folders() == {"/n": {"include": ["*.md"]}, "/\udcff": {}}
        assert store.remove_folder("/\udcff")
        assert not store.remove_folder("/other")
        assert list(store.folders()) == ["/n"]


def test_added_texts_are_no_files(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "c.db", ("/n/a.md", ["cat"]))
    digest = digest_of("cat")
    with closing(Store(path)) as store:
        entry = Entry("one", None, digest_of("one"), [(0, whole("cat"), digest)], is_added=True)
        store.write(Batch(entries=[entry]))
        assert (list(store.paths()), list(store.added())) == (["/n/a.md"], ["one"])
        assert store.stamp("one") is None
        assert (store.is_added("one"), store.is_added("/n/a.md")) == (True, False)
        assert store.is_added("other") is None
        assert store.metadata("one") is None
        entry = Entry("one", None, digest_of("one"), is_added=True, metadata={"year": 2024})
        store.write(Batch(entries=[entry]))
        assert store.metadata("one") == {"year": 2024}
        assert store.count_documents() == 2
    check(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE document SET metadata = '[1]' WHERE path = 'one'")
        connection.commit()
    with closing(Store(path)) as store, pytest.raises(CollectionError, match="not a JSON object"):
        store.metadata("one")


def test_a_python_without_fts5_is_told(tmp_path: Path) -> None:
    """There is none here: SQLite's message is given in its place."""
    path = tmp_path / "c.db"
    with (
        pytest.raises(CollectionError, match=r"the SQLite of this Python lacks FTS5.*another"),
        translated_errors(path),
    ):
        raise sqlite3.OperationalError("no such module: fts5")
