"""Untrusted JSON files, read with size limits and type checks."""

from __future__ import annotations

import errno
import json
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jlocal.errors import CheckpointError
from jlocal.files import read_regular

_UNSET: Any = object()


@dataclass(frozen=True)
class JsonConfig(Mapping[str, Any]):
    """A JSON object and its file, which every error names.

    The getters raise CheckpointError for a missing key without default and for a wrong type.
    JSON null counts as missing, as it does in transformers' configuration classes.
    """

    path: Path
    table: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)

    def integer(self, key: str, most: int, default: Any = _UNSET) -> int:
        """Read an integer from 1 to `most`."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self.wrong(key, f"an integer from 1 to {most:,}")
        return value

    def number(self, key: str, default: Any = _UNSET) -> float:
        """Read a finite number above 0."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number")
        if not 0 < value < 1e30:
            raise self.wrong(key, "a number above 0")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def section(self, key: str) -> JsonConfig:
        """Read an object; a missing one is empty."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return JsonConfig(self.path, value)

    def wrong(self, key: str, expected: str) -> CheckpointError:
        """Return the error for a key with an unexpected value."""
        value = reprlib.repr(self.table.get(key))
        return CheckpointError(
            f"{self.path}: {key} is {value}, but should be {expected}", path=self.path
        )

    def _value(self, key: str, default: Any) -> Any:
        value = self.table.get(key)
        if value is None:
            value = default
        if value is _UNSET:
            raise CheckpointError(
                f"{self.path} has no {key!r}; the checkpoint is incomplete", path=self.path
            )
        return value


def read_json_config(path: Path, most_bytes: int = 16 << 20) -> JsonConfig:
    """Read a JSON object from a file of at most `most_bytes`.

    Raises:
        CheckpointError: the file cannot be read, is too large, or holds something else.

    """
    return JsonConfig(path, parse_object(read_bytes(path, most_bytes), path))


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Read a regular file of at most `most_bytes`.

    Raises:
        CheckpointError: the file cannot be read, or is larger.

    """
    try:
        return read_regular(path, most_bytes)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} has no {path.name}; it is incomplete", path=path.parent
        ) from error
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise CheckpointError(
                f"{path} is larger than the limit of {most_bytes:,} bytes; download it again",
                path=path,
            ) from error
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", path=path
        ) from error


def parse_object(content: bytes, path: Path, *, what: str = "") -> dict[str, Any]:
    """Parse a JSON object in which no name occurs twice.

    Args:
        content: the object as JSON.
        path: the file that it is from.
        what: the words before the file's name in a message.

    Raises:
        CheckpointError: `content` is anything else.

    """
    try:
        value = json.loads(content, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(
            f"{what}{path} is not valid JSON: {reason}; download it again", path=path
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{what}{path} holds no JSON object; download it again", path=path)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in table if names.count(name) > 1)
        raise ValueError(f"the name {reprlib.repr(twice)} occurs twice")
    return table
