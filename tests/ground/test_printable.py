"""Text that a terminal would obey is not shown to it."""

from __future__ import annotations

import pytest

from jlocal.printable import printable


@pytest.mark.parametrize(
    "letter",
    [
        *("\n", "\r", "\t", "\b", "\x1b", "\x7f", "\x9b", "\0"),
        *("\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\udc80"),
    ],
)
def test_a_character_that_commands_is_replaced(letter: str) -> None:
    assert printable(f"a{letter}b") == "a\ufffdb"


@pytest.mark.parametrize("text", ["", "plain", "naïve 港の倉庫 عربي", "👩\u200d🔬"])
def test_other_text_stays(text: str) -> None:
    assert printable(text) == text
