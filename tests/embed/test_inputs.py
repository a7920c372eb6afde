"""What `encode` takes for texts, and what it refuses because iterating gives something else."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jlocal import ArgumentError, Embedder, TextError

TEXTS = ["a cat", "a dog"]


@pytest.fixture(scope="module")
def model(starter: Embedder) -> Embedder:
    return starter


class Table:
    """Iterates over the names of its columns, as pandas.DataFrame does."""

    columns = ("text", "label")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


REFUSED = {
    "dict": ({"a": 1, "b": 2}, "dict; pass its values"),
    "Counter": (collections.Counter(TEXTS), "Counter"),
    "set": ({"a", "b"}, "set; a set has no order"),
    "frozenset": (frozenset(TEXTS), "frozenset"),
    "bytes": (b"a cat", "bytes; decode"),
    "bytearray": (bytearray(b"a cat"), "bytearray"),
    "Table": (Table(), "Table; pass one of its columns"),
    "int": (7, "int"),
    "float": (0.5, "float"),
    "Path": (Path("a"), "Path"),
    "array of numbers": (np.arange(3), "array of int64"),
    "array of bytes": (np.array([b"a"]), "array of"),
    "two dimensions": (np.array([TEXTS]), r"shape \(1, 2\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_sequence_of_texts(name: str, model: Embedder) -> None:
    value, message = REFUSED[name]
    for call in (model.encode, model.encode_query, model.stream):
        with pytest.raises(ArgumentError, match=message):
            call(value)


@pytest.mark.parametrize(
    "value", [[["a"]], [b"a"], [1], [None], [("a", "b")], [{"text": "a"}], [float("nan")]]
)
def test_an_element_that_is_no_text(value: list[object], model: Embedder) -> None:
    with pytest.raises(TextError, match=r"text 0 is (of type|missing)"):
        model.encode(value)


def test_what_holds_texts(model: Embedder) -> None:
    expected = model.encode(TEXTS)
    for value in (
        tuple(TEXTS),
        iter(TEXTS),
        (text for text in TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, object),
        dict.fromkeys(TEXTS).keys(),
        {1: "a cat", 2: "a dog"}.values(),
        collections.deque(TEXTS),
        map(str, TEXTS),
    ):
        assert (model.encode(value) == expected).all()
    np.testing.assert_allclose(model.encode(np.str_("a cat")), expected[0], atol=1e-5)
    assert model.encode(np.array([])).shape == (0, expected.shape[1])


def test_columns_of_tables(model: Embedder) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS})
    assert (model.encode(frame["text"]) == model.encode(TEXTS)).all()
    with pytest.raises(ArgumentError, match="DataFrame; pass one of its columns"):
        model.encode(frame)


@pytest.mark.filterwarnings("error")
def test_a_table_that_is_not_computed_yet_is_refused_without_computing_it(model: Embedder) -> None:
    polars = pytest.importorskip("polars")
    with pytest.raises(ArgumentError, match="LazyFrame; pass one of its columns"):
        model.encode(polars.LazyFrame({"text": TEXTS}))


@pytest.mark.parametrize("value", [True, 1.5, 32.0, "32", [32]])
def test_a_dimension_that_is_no_whole_number(value: object, model: Embedder) -> None:
    with pytest.raises(ArgumentError, match="whole number"):
        model.encode(TEXTS, truncate_dim=value)


def test_a_dimension_of_numpy(model: Embedder) -> None:
    assert model.encode(TEXTS, truncate_dim=np.int64(32)).shape == (2, 32)
