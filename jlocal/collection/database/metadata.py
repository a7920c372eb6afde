"""Metadata of added texts, and conditions on it.

Conditions are a subset of those of MongoDB and Chroma: `{"author": "Ann", "year": {"$gt": 2020}}`.
They are evaluated in Python on the values that were read; nothing of them becomes SQL.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence, Set
from enum import Enum
from typing import Any

import numpy as np

from jlocal.arguments import wrong
from jlocal.collection.database.values import DamagedError, object_of
from jlocal.errors import ArgumentError

Scalar = str | int | float | bool | None
Metadata = Mapping[str, Scalar]
Condition = Callable[[Metadata], bool]

_MOST_KEYS, _LONGEST_KEY, _LARGEST = 256, 256, 1 << 16
_LARGEST_INTEGER = 1 << 63
_MOST_CONDITIONS, _MOST_VALUES, _DEEPEST = 256, 10_000, 16


def checked(metadata: object) -> dict[str, Scalar]:
    """Return metadata as a dictionary of JSON values.

    Raises:
        ArgumentError: it is not a mapping of names to text, numbers, True, False and None, or it is
            larger than 64 KiB.

    """
    if not isinstance(metadata, Mapping):
        raise ArgumentError(
            f"metadata is a mapping, not {type(metadata).__name__}", argument="metadata"
        )
    if len(metadata) > _MOST_KEYS:
        raise ArgumentError(
            f"metadata has {len(metadata):,} names; at most {_MOST_KEYS} are kept",
            argument="metadata",
        )
    values = {name: plain(value) for name, value in metadata.items()}
    for name, value in values.items():
        _check_name(name)
        _check_scalar("metadata", f"metadata {name!r}", value)
    size = len(json.dumps(values))
    if size > _LARGEST:
        raise ArgumentError(
            f"metadata takes {size:,} bytes as JSON; at most {_LARGEST:,} are kept",
            argument="metadata",
        )
    return values


def plain(value: Any) -> Any:
    """Return a number or text of NumPy, or of an enumeration, as a built-in Python value."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        value = value.value
    for kind in (str, int, float):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    return value


def stored_metadata(value: object) -> dict[str, Scalar]:
    """Read the metadata of a stored document.

    Raises:
        DamagedError: `checked` would not accept it.

    """
    try:
        return checked(object_of(value, "metadata of a document"))
    except ArgumentError as error:
        raise DamagedError(f"the metadata of a document are wrong: {error}") from error


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or len(name) > _LONGEST_KEY or name.startswith("$"):
        raise ArgumentError(
            f"{str(name)[:80]!r} cannot name metadata: a name is a text of 1 to {_LONGEST_KEY} "
            "characters that does not begin with $",
            argument="metadata",
        )
    _check_text("metadata", "the name of metadata", name)


def _check_scalar(argument: str, what: str, value: object) -> None:
    if isinstance(value, str):
        _check_text(argument, what, value)
    elif isinstance(value, int):
        if abs(value) >= _LARGEST_INTEGER:
            raise ArgumentError(f"{what} is a number of more than 64 bits", argument=argument)
    elif isinstance(value, float):
        if not math.isfinite(value):
            missing = "; pass None where a value is missing" if math.isnan(value) else ""
            raise ArgumentError(
                f"{what} is {value}, which is no JSON number{missing}", argument=argument
            )
    elif value is not None:
        raise ArgumentError(
            f"{what} is of type {type(value).__name__}; it can be a text, a number, True, False or "
            "None",
            argument=argument,
        )


def _check_text(argument: str, what: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ArgumentError(
            f"{what} has a lone surrogate, which is no text", argument=argument
        ) from None


# Conditions


def condition(where: Mapping[str, Any]) -> Condition:
    """Compile a condition on metadata.

    Args:
        where: names with a value that they must have, or with operators: $eq, $ne, $gt, $gte, $lt,
            $lte, $in, $nin; and $and, $or with a list of such mappings. All parts must hold. A
            missing name equals nothing, so that only $ne and $nin hold for it. Texts are compared
            with texts, and numbers with numbers; other pairs have no order.

    Raises:
        ArgumentError: it is not a condition of this form, or a very large one.

    """
    return _Compiler().all_of(where, 0)


class _Compiler:
    """Compiles one condition, and counts its parts."""

    def __init__(self) -> None:
        self._count = 0

    def all_of(self, where: object, depth: int) -> Condition:
        if not isinstance(where, Mapping) or not where:
            raise wrong("where", where, "it is a mapping of names to conditions")
        if depth > _DEEPEST:
            raise ArgumentError(f"where is nested more than {_DEEPEST} deep", argument="where")
        parts = [self._part(name, value, depth) for name, value in where.items()]
        return lambda metadata: all(part(metadata) for part in parts)

    def _part(self, name: object, value: object, depth: int) -> Condition:
        self._count += 1
        if self._count > _MOST_CONDITIONS:
            raise ArgumentError(
                f"where has more than {_MOST_CONDITIONS} conditions", argument="where"
            )
        if name in ("$and", "$or"):
            if not isinstance(value, Sequence) or isinstance(value, str) or not value:
                raise ArgumentError(f"where: {name} takes a list of conditions", argument="where")
            parts = [self.all_of(part, depth + 1) for part in value]
            quantifier = all if name == "$and" else any
            return lambda metadata: quantifier(part(metadata) for part in parts)
        if not isinstance(name, str) or name.startswith("$"):
            raise ArgumentError(
                f"where: unknown operator {name!r:.80}; there are $and and $or", argument="where"
            )
        if not isinstance(value, Mapping):
            return self._test(name, "$eq", value)
        if not value:
            raise ArgumentError(f"where: {name!r} has no condition", argument="where")
        tests = [self._test(name, key, operand) for key, operand in value.items()]
        return lambda metadata: all(test(metadata) for test in tests)

    def _test(self, name: str, key: object, operand: Any) -> Condition:
        self._count += 1
        if not isinstance(key, str) or key not in _TESTS:
            known = ", ".join(_TESTS)
            raise ArgumentError(
                f"where: unknown operator {key!r:.80}; there are {known}", argument="where"
            )
        if key in ("$in", "$nin"):
            if not isinstance(operand, (Sequence, Set)) or isinstance(operand, str):
                raise ArgumentError(f"where: {key} takes a list of values", argument="where")
            if len(operand) > _MOST_VALUES:
                raise ArgumentError(
                    f"where: {key} has more than {_MOST_VALUES:,} values", argument="where"
                )
            operand = [plain(value) for value in operand]
            for value in operand:
                _check_scalar("where", f"where: a value of {key}", value)
        else:
            operand = plain(operand)
            _check_scalar("where", f"where: the value of {key}", operand)
        test = _TESTS[key]
        return lambda metadata: test(metadata.get(name, _MISSING), operand)


_MISSING = object()


def _kind(value: object) -> object:
    """Return the kind of a value, within which values are comparable; True is not 1."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float
    return type(value)


def _equal(value: object, other: object) -> bool:
    return _kind(value) is _kind(other) and value == other


def _in_order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: object, other: object) -> bool:
        kind = _kind(value)
        return kind in (float, str) and kind is _kind(other) and compare(value, other)

    return test


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, other: not _equal(value, other),
    "$gt": _in_order(operator.gt),
    "$gte": _in_order(operator.ge),
    "$lt": _in_order(operator.lt),
    "$lte": _in_order(operator.le),
    "$in": lambda value, others: any(_equal(value, other) for other in others),
    "$nin": lambda value, others: not any(_equal(value, other) for other in others),
}
