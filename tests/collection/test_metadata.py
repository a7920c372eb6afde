"""Metadata of added texts, and conditions on it."""

from __future__ import annotations

import math

import pytest

from jlocal import ArgumentError
from jlocal.collection.database.metadata import checked, condition

ANN = {"author": "Ann", "year": 2021, "stars": 4.5, "draft": False, "note": None}


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ({"author": "Ann"}, True),
        ({"author": "Bob"}, False),
        ({"author": "Ann", "year": 2021}, True),
        ({"author": "Ann", "year": 2022}, False),
        ({"year": {"$gt": 2020}}, True),
        ({"year": {"$gt": 2021}}, False),
        ({"year": {"$gte": 2021, "$lt": 2022}}, True),
        ({"year": {"$lte": 2020.5}}, False),
        ({"year": 2021.0}, True),
        ({"stars": {"$gt": 4}}, True),
        ({"author": {"$gt": "Amy"}}, True),
        ({"author": {"$ne": "Ann"}}, False),
        ({"author": {"$in": ["Bob", "Ann"]}}, True),
        ({"author": {"$nin": ["Bob", "Ann"]}}, False),
        ({"author": {"$in": []}}, False),
        ({"note": None}, True),
        ({"draft": False}, True),
        # What is of another kind is another value, and has no order.
        ({"draft": 0}, False),
        ({"draft": {"$lt": 1}}, False),
        ({"year": "2021"}, False),
        ({"year": {"$gt": "2020"}}, False),
        ({"note": {"$lt": 1}}, False),
        # What is not there.
        ({"editor": "Ann"}, False),
        ({"editor": None}, False),
        ({"editor": {"$ne": "Ann"}}, True),
        ({"editor": {"$nin": ["Ann"]}}, True),
        ({"editor": {"$gt": 0}}, False),
        # Together.
        ({"$or": [{"author": "Bob"}, {"year": 2021}]}, True),
        ({"$or": [{"author": "Bob"}, {"year": 2022}]}, False),
        ({"$and": [{"author": "Ann"}, {"year": 2021}]}, True),
        ({"$and": [{"author": "Ann"}, {"$or": [{"year": 1}, {"stars": 1}]}]}, False),
        ({"author": "Ann", "$or": [{"year": 1}, {"stars": 4.5}]}, True),
    ],
)
def test_conditions(where: dict, holds: bool) -> None:
    assert condition(where)(ANN) is holds


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ({}, "a mapping of names"),
        ("author = 'Ann'", "a mapping of names"),
        ([{"author": "Ann"}], "a mapping of names"),
        ({"author": {}}, "has no condition"),
        ({"author": {"$regex": ".*"}}, r"unknown operator '\$regex'.*\$nin"),
        ({"author": {"name": "Ann"}}, "unknown operator 'name'"),
        ({"$not": {"author": "Ann"}}, r"unknown operator '\$not'"),
        ({"$or": {"author": "Ann"}}, "takes a list of conditions"),
        ({"$or": []}, "takes a list of conditions"),
        ({"author": {"$in": "Ann"}}, "takes a list of values"),
        ({"author": ["Ann"]}, "is of type list"),
        ({"author": {"$in": [["Ann"]]}}, "is of type list"),
        ({"year": {"$gt": math.nan}}, "no JSON number"),
        ({1: 2}, "unknown operator 1"),
        ({"a": {"$in": [1] * 10_001}}, "more than 10,000 values"),
        ({str(name): 1 for name in range(1000)}, "more than 256 conditions"),
    ],
)
def test_what_is_no_condition_is_refused(where: object, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        condition(where)


def test_conditions_are_not_endless() -> None:
    where: dict = {"a": 1}
    for _ in range(10_000):
        where = {"$and": [where]}
    with pytest.raises(ArgumentError, match="nested more than"):
        condition(where)


def test_metadata_is_json() -> None:
    assert checked(ANN) == ANN
    for wrong, reason in (
        (["a"], "a mapping, not list"),
        ({"a": ["b"]}, "metadata 'a' is of type list"),
        ({"a": {"b": 1}}, "of type dict"),
        ({"a": math.inf}, "no JSON number"),
        ({"a": 1 << 64}, "more than 64 bits"),
        ({"a": b"b"}, "of type bytes"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({"": 1}, "cannot name metadata"),
        ({"$gt": 1}, "cannot name metadata"),
        ({1: 1}, "cannot name metadata"),
        ({"a" * 257: 1}, "cannot name metadata"),
        ({"a": "b" * (1 << 16)}, "bytes as JSON"),
        ({str(name): 1 for name in range(257)}, "257 names"),
    ):
        with pytest.raises(ArgumentError, match=reason):
            checked(wrong)
