"""Checking arguments of the Python interface: numbers and texts."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from jlocal.errors import ArgumentError
from jlocal.terms import Argument

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T", bound="DataclassInstance")


def wrong(name: str, value: object, advice: str) -> ArgumentError:
    """Make the error of an argument whose value is none that it can have.

    Args:
        name: of the argument.
        value: the value that was passed.
        advice: the allowed values, as a sentence whose subject is the argument.

    """
    if value is None:  # which no term can say: it stands for an argument without a value
        return ArgumentError(f"{name}=None; {advice}", argument=name)
    term = Argument(name, value)
    return ArgumentError(f"{term}; {advice}", term, argument=name)


def of_keywords(kind: type[_T], function: str, given: Mapping[str, Any]) -> _T:
    """Make a dataclass of the keyword arguments of a function.

    Args:
        kind: the dataclass; its fields are the arguments.
        function: name of the function that was called.
        given: the arguments.

    Raises:
        TypeError: an argument has another name, as Python says it.

    """
    if unknown := given.keys() - {field.name for field in fields(kind)}:
        raise TypeError(f"{function}() got an unexpected keyword argument {min(unknown)!r}")
    return kind(**given)


def whole(name: str, value: object, least: int | None = None) -> int:
    """Return a whole number; NumPy's integers are such, True and False are not.

    Args:
        name: of the argument.
        value: the value that was passed.
        least: the smallest allowed value.

    Raises:
        ArgumentError: it is no whole number, or a smaller one.

    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise wrong(name, value, "it is a whole number")
    number = operator.index(value)
    if least is not None and number < least:
        raise wrong(name, number, f"it is at least {least}")
    return number


def listed(name: str, value: Any) -> list[Any]:
    """Return one id or path, or several, as a list.

    Args:
        name: of the argument.
        value: the value that was passed.

    Raises:
        ArgumentError: it is neither a text or path, nor an iterable of them.

    """
    if isinstance(value, (str, Path)):
        return [value]
    if isinstance(value, (Mapping, bytes)) or not isinstance(value, Iterable):
        raise ArgumentError(
            f"{name} are of type {type(value).__name__}; pass str, or a list of str",
            argument=name,
        )
    return list(value)


def no_text(value: object) -> str:
    """Say why a value is not a text; empty cells of tables are None or NaN."""
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return f"is missing ({value}); leave it out, as with dropna() in pandas"
    return f"is of type {type(value).__name__}; pass str"


def check_texts(inputs: Iterable[str]) -> Iterable[str]:
    """Return an argument for several texts, unless iterating over it would not yield texts.

    Raises:
        ArgumentError: it is no sequence of texts: a dict or a table would give its keys, a set no
            order, bytes numbers.

    """
    name = type(inputs).__name__
    if isinstance(inputs, Mapping):
        advice = "pass its values: list(texts.values())"
    elif isinstance(inputs, (set, frozenset)):
        advice = "a set has no order; pass a list, such as sorted(texts)"
    elif isinstance(inputs, (bytes, bytearray, memoryview)):
        advice = "decode it to str first"
    elif hasattr(type(inputs), "columns"):
        advice = 'pass one of its columns: table["text"]'
    elif isinstance(inputs, np.ndarray) and not (
        inputs.ndim == 1 and (inputs.dtype.kind in "UTO" or not inputs.size)
    ):
        name = f"array of {inputs.dtype} and shape {inputs.shape}"
        advice = "pass one of shape (n,) that holds str"
    elif not isinstance(inputs, Iterable):
        advice = "pass str, or a list of str"
    else:
        return inputs
    raise ArgumentError(f"the texts are of type {name}; {advice}", argument="texts")
