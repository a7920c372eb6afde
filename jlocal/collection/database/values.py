"""Checks of the values in a collection: the file may be damaged, or come from other people."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeGuard

import numpy as np
import numpy.typing as npt

from jlocal.collection.config import CollectionConfig
from jlocal.collection.location import Location, is_id
from jlocal.filenames import native, portable, rejoined
from jlocal.vectors import Floats

Ids = npt.NDArray[np.int64]

# Of the squared length of a vector from 1.
_TOLERANCE = 1e-3
_LARGEST = 1 << 53


class DamagedError(ValueError):
    """A value is not one that jlocal writes; the message says which."""


def path_of(value: object) -> str:
    """Read a document's path as this locale has it; it is a BLOB only if it is no UTF-8."""
    path = path_text_of(value)
    return path if is_id(path) else native(path)


def path_text_of(value: object) -> str:
    """Read a document's path as text that is the same in every locale."""
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            value = portable(os.fsdecode(value))
    if not isinstance(value, str) or not value or "\0" in value:
        raise DamagedError("the path of a document is not a path")
    return value


def stored_path(path: str) -> str | bytes:
    """Return a path as it is written, the same in every locale: a BLOB if it is no UTF-8."""
    known = rejoined(path) if is_id(path) else portable(path)
    try:
        known.encode("utf-8")
    except UnicodeEncodeError:
        return _bytes_of(path)
    return known


def _bytes_of(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # no path of this system, and so of no document
        return path.encode("utf-8", "surrogatepass")


def order_of(path: str) -> tuple[bool, bytes]:
    """Return the key by which SQLite sorts a path."""
    stored = stored_path(path)
    return isinstance(stored, bytes), stored.encode() if isinstance(stored, str) else stored


def location_of(path: object, *numbers: object) -> Location:
    """Read a place, of which the numbers are record, first line, last line and start."""
    record, first, last, start = (number if type(number) is int else -1 for number in numbers)
    numbers_fit = 0 <= record < _LARGEST and 1 <= first <= last < _LARGEST
    if not (numbers_fit and 0 <= start < _LARGEST):
        raise DamagedError("a passage stands in no lines of its document")
    known = path_of(path)
    return Location(known, record, first, last, is_id(known), start)


def ids_of(values: Sequence[object]) -> Ids:
    """Read ids (n,)."""
    if not set(map(type, values)) <= {int}:
        raise DamagedError("an id is not a number")
    return np.array(values, np.int64)


def ascending(ids: Ids, after: int) -> int:
    """Check that ids ascend from one above `after`, and return the last.

    A file in which pages come again and again would give them without end.
    """
    if len(ids) and (ids[0] <= after or (np.diff(ids) <= 0).any()):
        raise DamagedError("passages or documents occur twice")
    return int(ids[-1]) if len(ids) else after


def vectors_of(values: Sequence[object], dimensions: int) -> Floats:
    """Read vectors (n, d) of unit length."""
    vectors = floats_of(values, dimensions)
    # A comparison with NaN is false.
    if not (abs(np.einsum("ij,ij->i", vectors, vectors) - 1) <= _TOLERANCE).all():
        raise DamagedError("a vector is not of unit length")
    return vectors


def floats_of(values: Sequence[object], dimensions: int | None = None) -> Floats:
    """Read vectors (n, d) of whatever length; None takes the dimensions of the first."""
    if dimensions is None:
        dimensions = len(values[0]) // 4 if values and isinstance(values[0], bytes) else 0
    parts = [value for value in values if isinstance(value, bytes)]
    if len(parts) != len(values) or not set(map(len, parts)) <= {4 * dimensions}:
        raise DamagedError(f"a vector has not {dimensions} dimensions")
    return np.frombuffer(b"".join(parts), "<f4").reshape(len(parts), dimensions)


def vector_of(value: object, dimensions: int) -> Floats:
    """Read one vector (d,), faster than `vectors_of`."""
    if not isinstance(value, bytes) or len(value) != 4 * dimensions:
        raise DamagedError(f"a vector has not {dimensions} dimensions")
    vector = np.frombuffer(value, "<f4")
    if not abs(np.vdot(vector, vector) - 1) <= _TOLERANCE:
        raise DamagedError("a vector is not of unit length")
    return vector


def digest_of(text: str, kind: str = "") -> bytes:
    """SHA-256 of a text, which with another kind is another."""
    return hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogateescape")).digest()


def digest_of_passage(heading: str, text: str) -> bytes:
    """SHA-256 of a passage; without a heading that of its text."""
    return digest_of(text, json.dumps(heading) if heading else "")


def passage_of(heading: object, text: object, digest: object) -> tuple[str, str]:
    """Check the heading and text of a passage by their digest; DamagedError if they differ."""
    if (
        not isinstance(heading, str)
        or not isinstance(text, str)
        or digest_of_passage(heading, text) != digest
    ):
        raise DamagedError("the text of a passage is not the one that was embedded")
    return heading, text


def object_of(value: object, what: str) -> dict[str, Any]:
    """Parse a JSON object; DamagedError if the value, such as "settings", is none."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise DamagedError(f"the {what} are not a JSON object")
    return parsed


def is_sha256(value: object) -> TypeGuard[str]:
    """Whether a value is a digest in hexadecimal."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def config_of(settings: Mapping[str, object]) -> CollectionConfig:
    """Parse and check a config, from its settings as JSON; DamagedError names an invalid one."""
    read: dict[str, Any] = {
        field.name: _setting(field.name, settings.get(field.name))
        for field in fields(CollectionConfig)
    }
    read["fields"] = tuple(read["fields"])
    read["model_path"] = native(read["model_path"])
    config = CollectionConfig(**read)
    if not (0 <= config.overlap < (config.chunk or 1)):
        _refuse("overlap")
    return config


_POSITIVE = range(1, 1 << 31)
# The valid values of each setting that is not an arbitrary text.
_CHOICES: Mapping[str, Callable[[Any], bool]] = {
    "model_sha256": lambda value: is_sha256(value),
    "pooling": lambda value: value in ("last", "mean", "cls"),
    "precision": lambda value: value == "float32",
    "compute_type": lambda value: value in ("stored", "bfloat16", "int8"),
    "dimensions": lambda value: value in _POSITIVE,
    "chunk": lambda value: value is None or value in _POSITIVE,
    "overlap": lambda value: value in range(1 << 31),
    "model_path": lambda value: value and "\0" not in value,
}
_NUMBERS = ("dimensions", "chunk", "overlap")


def _setting(name: str, source: object) -> object:
    try:
        value = json.loads(source) if isinstance(source, str) else _refuse(name)
    # Thousands of digits, or of brackets.
    except (ValueError, RecursionError):
        _refuse(name)
    if name == "fields":
        fits = isinstance(value, list) and all(map(_is_text, value))
    elif name == "headings":
        fits = isinstance(value, bool)
    elif name in _NUMBERS:
        fits = type(value) is int or (name == "chunk" and value is None)
    else:
        # The path may hold bytes that are no UTF-8, as surrogates.
        fits = isinstance(value, str) and (name == "model_path" or _is_text(value))
    if not fits or not _CHOICES.get(name, lambda _: True)(value):
        _refuse(name)
    return value


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _refuse(name: str) -> NoReturn:
    raise DamagedError(f"its setting {name!r} is missing or wrong")
