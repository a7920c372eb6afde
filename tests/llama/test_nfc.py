"""Normalisation is Python's, in time that no text can stretch."""

from __future__ import annotations

import random
import time
import unicodedata
from functools import cache

import pytest

from jlocal.llama.nfc import is_nfc, nfc


@cache
def marks() -> list[str]:
    return [letter for letter in map(chr, range(0x110000)) if unicodedata.combining(letter)]


@pytest.mark.parametrize("seed", range(20))
def test_it_gives_what_python_gives(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(
        draw.choice(["a", "à", "e", "ñ", "가", "각", "ᄀ", "ᅡ", " ", "日", "\u0344"])
        + "".join(draw.choices([*marks(), "\u0344"], k=draw.choice([0, 0, 1, 3, 2500])))
        for _ in range(8)
    )
    assert nfc(text) == unicodedata.normalize("NFC", text)
    assert is_nfc(nfc(text)) or max(map(len, text.split())) > 2048
    assert not is_nfc(text) or unicodedata.is_normalized("NFC", text)


@pytest.mark.slow
def test_it_may_be_cut_anywhere() -> None:
    """The first step ends after a million characters, which is after each of these once."""
    text = "e\u0301 a\u0323\u0301e가\u11a8각 ᄀ\u1161\u11a8e\u0301"
    for before in range(len(text) + 1):
        long = "x" * (1_000_000 - before) + text * 2
        assert nfc(long) == unicodedata.normalize("NFC", long)


@pytest.mark.slow
def test_many_marks_take_no_longer_than_other_characters() -> None:
    """Python orders a run of them in time by the square of its length: here, an hour."""
    text = "a" + "\u0301\u0323" * 400_000
    start = time.monotonic()
    assert not is_nfc(text)
    ordered = nfc(text)
    assert time.monotonic() - start < 60
    assert len(ordered) in (800_000, 800_001)
    assert ordered.rstrip("\u0301").endswith("\u0323")
