"""What most comparisons of vectors are made with."""

from __future__ import annotations

from pathlib import Path

from texts import prose

from jlocal.verify import Text

STARTER = Path(__file__).parents[1] / "starter" / "jlocal-starter"
SOME = [Text("de" if number % 2 else "", prose(3 + number, number)) for number in range(14)]
