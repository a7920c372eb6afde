"""What is wrong with an argument is said in a line, before anything is embedded or written."""

from __future__ import annotations

import enum
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jlocal import ArgumentError, Collection, CollectionError, Embedder, JlocalError, TextError

TEXTS = ["The cat sleeps on the sofa.", "Restic makes a backup each night."]


class Table:
    """What a table of pandas looks like to what only iterates over it."""

    columns = ("text", "year")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


class Color(str, enum.Enum):
    """A text that is not of the type str itself."""

    RED = "red"


@pytest.fixture(scope="module")
def model(starter: Embedder) -> Embedder:
    return starter


@pytest.fixture
def collection(tmp_path: Path, model: Embedder) -> Iterator[Collection]:
    with Collection(tmp_path / "texts.db", model) as collection:
        collection.add(TEXTS, ["cat", "backup"])
        yield collection


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": 5}, "model=5; it is a path or a name"),
        ({"threads": "2"}, "threads='2'; it is a whole number"),
        ({"threads": 0}, "threads=0; it is at least 1"),
        ({"gpu_layers": "all"}, "gpu_layers='all'; it is a whole number"),
        ({"gpu_layers": -2}, "gpu_layers=-2; it is at least -1"),
        ({"prompts": ["query"]}, "prompts is a mapping of names to texts"),
        ({"prompts": {"query": 1}}, "prompts is a mapping of names to texts"),
    ],
)
def test_an_embedder_says_what_is_wrong(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        Embedder(**{"model": "starter", **options})


def test_an_embedder_names_its_file(model: Embedder) -> None:
    assert repr(model) == f"Embedder({str(model.profile.path)!r})"


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, np.float32("nan")])
def test_a_missing_text_is_told_as_such(
    model: Embedder, collection: Collection, missing: Any
) -> None:
    for take in (model.encode, collection.add, collection.search):
        with pytest.raises(TextError, match="text 1 is missing") as caught:
            take(["a", missing])
        assert caught.value.index == 1
    assert len(collection) == 2


def test_texts_are_not_compared_as_vectors(model: Embedder) -> None:
    with pytest.raises(ArgumentError, match=r"pass what encode\(\) returns"):
        model.similarity(["a"], ["b"])


def test_a_script_for_sentence_transformers_may_move_the_model(model: Embedder) -> None:
    with pytest.warns(UserWarning, match="pass device= when you make it"):
        assert model.to("cuda") is model
    assert model.eval() is model
    assert model.get_max_seq_length() == model.max_seq_length


@pytest.mark.parametrize("texts", [{"a": "b"}, {"a", "b"}, Table(), b"ab", 5, None])
def test_what_would_give_other_texts_is_neither_added_nor_searched(
    collection: Collection, texts: Any
) -> None:
    for take in (collection.add, collection.search):
        with pytest.raises(ArgumentError, match="the texts are of type"):
            take(texts)
    assert len(collection) == 2


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda c: c.add("a", 1), "ids are of type int; pass str"),
        (lambda c: c.add("a", [1]), "the id 1 is of type int; pass str"),
        (lambda c: c.add(["a", "b"], metadata=Table()), 'to_dict\\("records"\\)'),
        (lambda c: c.add("a", metadata={"x": float("nan")}), "pass None where a value is missing"),
        (lambda c: c.delete(5), "ids are of type int"),
        (lambda c: c.delete([5]), "an id is of type int"),
        (lambda c: c.get(["cat"]), "an id is of type list"),
        (lambda c: c.index(None), "paths are of type NoneType"),
        (lambda c: c.search("a", n="5"), "n='5'; it is a whole number"),
        (lambda c: c.search("a", n=5.0), "n=5.0; it is a whole number"),
        (lambda c: c.search("a", min_score="high"), "min_score='high'; it is a number"),
        (lambda c: c.search("a", path=5), "path=5; it is a glob"),
        (lambda c: c.search("a", path=["*.md"]), "it is a glob"),
        (lambda c: c.search([5]), "text 0 is of type int"),
        (lambda _: Collection(5), "5 names no collection"),
    ],
)
def test_a_collection_says_what_is_wrong(
    collection: Collection, call: Callable[[Collection], object], reason: str
) -> None:
    with pytest.raises(JlocalError, match=reason):
        call(collection)
    assert len(collection) == 2


def test_numbers_and_texts_of_numpy_are_as_good_as_others(collection: Collection) -> None:
    metadata = {"year": np.int64(2024), "size": np.float32(0.5), "new": np.bool_(True)}
    collection.add("The color of the sofa.", "sofa", metadata | {"color": Color.RED})
    stored = collection.get("sofa")
    assert stored is not None
    assert stored.metadata == {"year": 2024, "size": 0.5, "new": True, "color": "red"}
    for where in (
        {"year": np.int64(2024)},
        {"year": {"$in": {2024}}},
        {"color": Color.RED},
        {"color": np.str_("red")},
        {"new": np.bool_(True)},
    ):
        hits = collection.search("sofa", np.int64(3), where=where, mode="meaning")
        assert [hit.id for hit in hits] == ["sofa"], where
    assert len(collection.search("sofa", n=10**20, mode="meaning")) == 3


def test_a_path_filter_that_fails_says_so_and_does_no_harm(collection: Collection) -> None:
    """It once read as damage of the file, which was to be deleted."""
    for where in (None, {"year": {"$ne": 1}}):
        with pytest.raises(ZeroDivisionError):
            collection.search("sofa", path=lambda _: 1 / 0 > 1, where=where, mode="meaning")
    # What a function returns needs not be True or False.
    hits = collection.search("sofa", path=lambda path: np.bool_(path == "cat"), mode="meaning")
    assert [hit.id for hit in hits] == ["cat"]
    assert collection.search("sofa", path=Path("nowhere")) == []


def test_a_pickled_collection_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Collection("relative.db", "starter", threads=1) as collection:
        collection.add(TEXTS, ["cat", "backup"])
        collection.search("cat")
        data = pickle.dumps(collection)
    monkeypatch.chdir("/")
    with pickle.loads(data) as again:
        assert again.path == tmp_path / "relative.db"
        assert again.search("sofa", mode="meaning")[0].id == "cat"
    with pytest.raises(CollectionError, match="is closed"):
        pickle.dumps(collection)
