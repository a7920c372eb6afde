"""The inputs of most comparisons of vectors."""

from __future__ import annotations

from pathlib import Path

from jlocal.verify import Text
from support.texts import prose

STARTER = Path(__file__).parents[2] / "starter" / "jlocal-starter"
SOME = [Text("de" if number % 2 else "", prose(3 + number, number)) for number in range(14)]
