"""Words and meaning: what each finds, the order that both give, and what is said of a hit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder
from jlocal.collection.chunking.chunks import whole
from jlocal.collection.database import bm25
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of
from jlocal.collection.database.words import query_terms
from jlocal.collection.search.fusion import Background, Scale, fused, weight_of
from jlocal.collection.search.ranking import MODES, search
from jlocal.models.profile import read_profile
from jlocal.models.starter import FILE
from jlocal.vectors import normalize
from support.collection_files import config_for


def made(path: Path, texts: list[str], vectors: np.ndarray) -> Store:
    """Make a store of documents with one passage each."""
    store = Store(path, create=True)
    store.set_config(config_for(vectors.shape[1]))
    batch = Batch()
    for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        digest = digest_of(text)
        batch.passages[digest] = ("", text, vector)
        batch.entries.append(Entry(f"/d/{number:04}.md", None, digest, [(0, whole(text), digest)]))
    store.write(batch)
    return store


def random_vectors(count: int, dimensions: int = 64) -> np.ndarray:
    rng = np.random.default_rng(2)
    return normalize(rng.standard_normal((count, dimensions)).astype(np.float32))


@pytest.fixture
def notes(tmp_path: Path, model: Embedder) -> Path:
    """Return a folder of notes and their collection."""
    texts = {
        "backup strategy.md": "We copy the server every night.",
        "nas.md": "Two mirrored pairs of disks.",
        "travel/lisbon.md": "Salted cod is enough for four.",
        "recipes/dal.md": "Red lentils, turmeric and ginger.",
    }
    for name, text in texts.items():
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with Collection(tmp_path / "notes.db", model) as collection:
        collection.index(tmp_path / "notes")
    return tmp_path


def names(hits: list) -> list[str]:
    return [Path(hit.path).name for hit in hits]


def test_words_decide_where_no_cosine_stands_out() -> None:
    cosines = np.linspace(0.90, 0.92, 100, dtype=np.float32)
    apart = Background.of(np.tile(cosines, 50)).z_scores(cosines)
    bm25 = np.zeros(100, np.float32)
    bm25[3] = 8
    assert fused(bm25, apart, 2.0, 5).argmax() == 3


def test_one_word_counts_more_than_one_of_many() -> None:
    apart = np.array([3, 0], np.float32)
    assert fused(np.array([0, 4], np.float32), apart, 2.0, 1).argmax() == 1
    assert fused(np.array([0, 4], np.float32), apart, 2.0, 4).argmax() == 0


def test_meaning_decides_where_no_word_is_found() -> None:
    cosines = np.full(1000, 0.1, np.float32)
    cosines[7] = 0.6
    apart = Background.of(cosines).z_scores(cosines)
    assert fused(np.zeros(1000, np.float32), apart, 2.0, 5).argmax() == 7


def test_few_passages_do_not_make_small_differences_large() -> None:
    two = np.array([0.50, 0.51], np.float32)
    assert np.ptp(Background.of(two).z_scores(two)) < 0.2
    assert np.isfinite(Background.of(two[:1]).z_scores(two[:1])).all()
    assert np.isfinite(Background.of(two[:0]).z_scores(two)).all()


def test_a_models_weight_goes_by_its_name() -> None:
    starter = weight_of(read_profile(FILE).name)
    for name in ("Jina Embeddings V5 Text Small Retrieval", "v5-nano-retrieval-Q8_0"):
        assert starter < weight_of("another model") < weight_of(name)


def test_relevance_grows_with_the_score_and_stays_between_0_and_1() -> None:
    background = Background(0.3, 0.1)
    for scale in (
        Scale.of_both(3, 1000, 2.0),
        Scale.of_words(1, 1),
        Scale.of_meaning(background, 10**6),
    ):
        relevances = [scale.relevance(score) for score in (-1e9, -1, 0, 0.5, 3, 30, 1e9)]
        assert relevances == sorted(relevances)
        assert 0 <= relevances[0] < relevances[-1] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
def test_both_scores_of_a_hit_are_exact_however_it_was_found(
    tmp_path: Path, *, exact: bool
) -> None:
    # The codes leave 1,000 candidates of 1,024 dimensions.
    vectors = random_vectors(1600, 1024)
    texts = [f"number{n} {'rare' if n % 400 == 5 else 'common'}" for n in range(1600)]
    store = made(tmp_path / "c.db", texts, vectors)
    query = vectors[9]
    hits = search(store, query, 50, text="rare", exact=exact)
    alone = {hit.path: hit.bm25 for hit in search(store, None, 5, text="rare")}
    assert set(alone) == {f"/d/{n:04}.md" for n in (5, 405, 805, 1205)}
    assert set(alone) <= {hit.path for hit in hits}
    for hit in hits:
        number = int(hit.path[3:7])
        assert hit.cosine == pytest.approx(float(vectors[number] @ query), abs=1e-6)
        assert hit.bm25 == pytest.approx(alone.get(hit.path, 0.0))
        assert hit.score == hit.relevance
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert search(store, query, 50, text="rare", exact=exact) == hits
    store.close()


def test_equal_passages_keep_one_order(tmp_path: Path) -> None:
    vectors = np.repeat(random_vectors(1), 30, axis=0)
    store = made(tmp_path / "c.db", [f"word{n:02} same" for n in range(30)], vectors)
    for arguments in ({"text": None}, {"text": "same"}):
        hits = search(store, vectors[0], 30, **arguments)
        assert [hit.path for hit in hits] == [f"/d/{n:04}.md" for n in range(30)]
    store.close()


def test_a_word_is_found_in_a_folder_of_one_or_three_notes(tmp_path: Path) -> None:
    """BM25 as FTS5 has it gives a word no weight that half of the notes have."""
    for count in (1, 2, 3):
        texts = [f"text number{n} alpha" for n in range(count)]
        store = made(tmp_path / f"{count}.db", texts, random_vectors(count, 1024))
        (hit,) = search(store, None, 5, text="number0")
        assert hit.bm25 > 0.5
        assert len(search(store, None, 5, text="alpha")) == count
        # Vectors that have nothing to do with the query do not outdo the word.
        assert search(store, random_vectors(9, 1024)[8], 1, text="number0")[0].path == "/d/0000.md"
        store.close()


def test_common_words_only_add_to_what_rare_words_find(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    texts = [
        f"number{n} " + " ".join(f"word{w}" for w in rng.geometric(0.05, size=30))
        for n in range(500)
    ]
    store = made(tmp_path / "c.db", texts, random_vectors(500))
    terms = query_terms("word1 word2 word30 word40")
    everything = bm25.score(store._rows, "words", terms, 500)
    quick = bm25.score(store._rows, "words", terms, 500, most_rows=200, best=100)
    assert len(quick.ids) < len(everything.ids)
    assert len({*everything.best(10)} & {*quick.best(10)}) >= 9
    first = everything.best(1)
    assert quick.best(1) == first
    assert quick.of(first) == everything.of(first)
    store.close()


def test_words_that_say_nothing_are_left_out_unless_there_are_no_others() -> None:
    decide = ('"decide"', '"decision"')
    assert query_terms("what did we decide about backups") == [decide, ('"backups"',)]
    assert query_terms("wo ist der Schlüssel") == [('"schlüssel"',)]
    assert query_terms("who is who") == [('"who"',), ('"is"',)]
    assert query_terms("war and peace") == [('"war"',), ('"peace"',)]
    assert query_terms("\u20ac - war") == [('"war"',)]


def test_a_number_is_found_however_its_thousands_are_parted(tmp_path: Path) -> None:
    ways = ("9500", "9,500", "9.500", "9 500", "9'500", "9\u2019500", "9\u00a0500", "9\u202f500")
    texts = [f"It cost {way} euros, nearly." for way in ways]
    texts += ["It cost 19500 euros.", "It cost 9 and 5001 euros.", "Euros.", "9500.50", "1,009,500"]
    store = made(tmp_path / "c.db", texts, random_vectors(len(texts)))
    expected = {f"/d/{n:04}.md" for n in (*range(len(ways)), 11)}
    for query in ways:
        hits = search(store, None, 20, text=query)
        assert {hit.path for hit in hits[: len(expected)]} == expected, query
        if " " not in query and query.isascii():
            assert len(hits) == len(expected), query
    store.close()


def test_a_verb_finds_its_noun_where_endings_do_not_do_it(tmp_path: Path) -> None:
    texts = ["Decision: every night.", "We extended the lease.", "Nothing inside.", "A side."]
    store = made(tmp_path / "c.db", texts, random_vectors(len(texts)))
    for query, expected in {"decided": 0, "extension": 1, "extending": 1, "inside": 2}.items():
        assert [hit.path for hit in search(store, None, 5, text=query)] == [
            f"/d/{expected:04}.md"
        ], query
    store.close()


def test_a_word_of_one_passage_only_looks_relevant(tmp_path: Path) -> None:
    for count in (20, 500):
        texts = [f"common number{n} {'restic' if n == 7 else 'thing'}" for n in range(count)]
        *vectors, unlike = random_vectors(count + 1)
        store = made(tmp_path / f"{count}.db", texts, np.stack(vectors))
        for query in (unlike, None):
            first, *others = search(store, query, 3, text="restic")
            assert (first.path, first.relevance > 0.5) == ("/d/0007.md", True)
            assert all(hit.relevance < 0.5 for hit in others)
        assert search(store, None, 1, text="common")[0].relevance < 0.1
        store.close()


@pytest.mark.parametrize("text", ["!!!", "\U0001f600", ""])
def test_meaning_alone_orders_what_a_query_without_words_finds(tmp_path: Path, text: str) -> None:
    vectors = random_vectors(50)
    store = made(tmp_path / "c.db", [f"number{n}" for n in range(50)], vectors)
    both, meaning = (search(store, vectors[9], 10, text=t) for t in (text, None))
    assert [hit.path for hit in both] == [hit.path for hit in meaning]
    assert both[0].path == "/d/0009.md"
    store.close()


def test_what_only_looks_like_thousands_stays_apart() -> None:
    assert query_terms("404 500 errors") == [('"404"',), ('"500"',), ('"404500"',), ('"errors"',)]
    for query in ("10.0.0.1", "3.14", "1,00,000", "007", "v5.100"):
        assert all(len(term) == 1 for term in query_terms(query)), query


def test_words_need_no_model(notes: Path) -> None:
    with Collection(notes / "notes.db", notes / "no such model.gguf") as collection:
        (hit,) = collection.search("lentils", mode="words")
        assert (Path(hit.path).name, hit.cosine) == ("dal.md", None)
        assert hit.score == hit.bm25 > 0
        assert collection.search("nothing of this", mode="words") == []


def test_other_forms_of_a_word_are_found(notes: Path, model: Embedder) -> None:
    with Collection(notes / "notes.db", model) as collection:
        for query in ("lentil", "mirror", "copying"):
            assert len(collection.search(query, mode="words")) == 1, query


def test_the_words_of_a_path_find_its_document(notes: Path, model: Embedder) -> None:
    with Collection(notes / "notes.db", model) as collection:
        for query, name in (("backup", "backup strategy.md"), ("LISBON", "lisbon.md")):
            (hit,) = collection.search(query, mode="words")
            assert Path(hit.path).name == name
            assert hit.bm25 > 0
            (named,) = [hit for hit in collection.search(query) if Path(hit.path).name == name]
            assert named.bm25 == hit.bm25
        assert collection.search("lisbon", mode="words", path="recipes") == []
        assert names(collection.search("lentils", mode="words", path="recipes")) == ["dal.md"]


def test_min_score_is_in_the_unit_of_the_mode(notes: Path, model: Embedder) -> None:
    with Collection(notes / "notes.db", model) as collection:
        for mode in MODES:
            hits = collection.search("backup of disks", mode=mode)
            assert len(hits) >= 2
            least = hits[1].score
            assert collection.search("backup of disks", mode=mode, min_score=least) == hits[:2]
            score = {"words": "bm25", "meaning": "cosine", "both": "relevance"}[mode]
            assert all(hit.score == getattr(hit, score) for hit in hits)


def test_a_file_that_changed_or_is_missing_is_said_to_be(notes: Path, model: Embedder) -> None:
    folder = notes / "notes"
    (folder / "nas.md").write_text("One disk.")
    shutil.rmtree(folder / "travel")
    with Collection(notes / "notes.db", model) as collection:
        states = {Path(hit.path).name: hit.state for hit in collection.search("disks")}
    assert states == {
        "backup strategy.md": "current",
        "nas.md": "changed",
        "lisbon.md": "missing",
        "dal.md": "current",
    }
