"""The JSON object in a request's body, whose fields are checked as they are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from jlocal.server.problem import Problem, invalid

_MAX_SHOWN = 80


def parse(body: bytes) -> Fields:
    """Parse the body of a request; an empty one has no fields.

    Raises:
        Problem: it is not a JSON object in UTF-8.

    """
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid("the body is not a JSON object")
    return Fields(value)


@dataclass(frozen=True)
class Fields:
    """The fields of a JSON object. A field that is null counts as missing.

    Attributes:
        values: the object as it was parsed.

    """

    values: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """Return a value as it was parsed; None if it is missing."""
        return self.values.get(name)

    def text(self, name: str) -> str | None:
        """Return a string; None if it is missing."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise wrong(name, value, "it is a string")
        return value

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """Return one of several strings; None if it is missing."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise wrong(name, value, f"choose one of: {', '.join(choices)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise wrong(name, value, "it is true or false")
        return value

    def whole(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number in a range; None if it is missing."""
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            raise wrong(name, value, f"it is a whole number from {least:,} to {most:,}")
        return value

    def number(self, name: str) -> float | None:
        """Return a number; None if it is missing."""
        value = self.values.get(name)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        raise wrong(name, value, "it is a number")

    def texts(self, name: str) -> list[str] | None:
        """Return a list of strings; None if it is missing."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise wrong(name, value, "it is a list of strings")
        return value

    def part(self, name: str) -> Fields:
        """Return the fields of an object inside this one; a missing one has no fields."""
        value = self.values.get(name)
        if value is None:
            return Fields({})
        if not isinstance(value, dict):
            raise wrong(name, value, "it is an object")
        return Fields(value)


def wrong(name: str, value: object, advice: str) -> Problem:
    """Return the problem of a field with a wrong value."""
    shown = repr(value)
    shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
    return invalid(f"{name} {shown}: {advice}", name)
