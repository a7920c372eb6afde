"""Chunks: never too long, nothing lost, cut where a reader would cut."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable

import pytest

from jlocal import Embedder
from jlocal.collection.chunking.chunks import check_size, split, whole
from jlocal.collection.chunking.markup import outline_of
from jlocal.errors import ArgumentError, TextError
from support.texts import AWKWARD, huge, prose


def words(text: str) -> int:
    """Count tokens as a simple model might: one for each word, and three around a text."""
    return 3 + len(re.findall(r"\w+|[^\w\s]", text))


@pytest.fixture(scope="module", params=["qwen3", "eurobert"])
def count(converted, request) -> Callable[[str], int]:
    with Embedder(converted(request.param, whole=True)) as model:
        yield lambda text: len(model.tokenize(text, "Document: "))


def check(text: str, limit: int, overlap: int, count: Callable[[str], int]) -> list:
    chunks = list(split(text, limit, overlap, count, outline=outline_of(text, "a.md")))
    end = 0
    for chunk in chunks:
        assert count(text[chunk.start : chunk.end]) <= limit
        assert count(chunk.text) <= limit
        assert chunk.text == text[chunk.start : chunk.end].rstrip()
        assert chunk.start <= end < chunk.end, "nothing is left out, and each goes on"
        assert chunk.start == end or overlap
        assert chunk.first_line == 1 + text.count("\n", 0, chunk.start)
        assert chunk.last_line == chunk.first_line + chunk.text.count("\n")
        if chunk.start < end:
            assert count(text[chunk.start : end]) - count("") <= overlap
        end = chunk.end
    assert end == len(text)
    return chunks


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [0, 9, 24])
def test_awkward_texts_are_cut_and_nothing_is_lost(count, overlap: int) -> None:
    texts = [text for text in AWKWARD.values() if text] + [huge(3000), prose(400)]
    rng = random.Random(3)
    texts += ["".join(rng.choices("ab .\n#\r🪐é\u0301", k=rng.randint(1, 900))) for _ in range(20)]
    for text in texts:
        chunks = check(text, 48, overlap, count)
        if not overlap:
            assert "".join(text[chunk.start : chunk.end] for chunk in chunks) == text


def test_the_best_boundary_wins() -> None:
    section = "One two three. Four five six.\nseven eight nine ten\n\n"
    text = section * 2 + "# Heading\n" + section * 2
    starts = {text[chunk.start :][:9] for chunk in check(text, 40, 0, words)}
    assert "# Heading" in starts
    # Paragraphs come before sentences, those before lines, and those before words.
    for text, expected in (
        ("a b. c d\n\ne f. g h i j k l", "e"),
        ("a b c d. e f\ng h i j k l m", "e"),
        ("a b c d e f\ng h i j k l m", "g"),
        ("a b c d e f g h i j k l m", None),
        ("火星。金星水星木星。土星" * 3, None),
    ):
        first, second, *_ = check(text, 3 + 9, 0, words if expected else len)
        if expected:
            assert second.text[0] == expected
        else:
            assert first.text[-1] in "。" or text[first.end - 1].isspace()


@pytest.mark.slow
def test_chunks_are_well_filled(count) -> None:
    text = prose(3000)
    sizes = [count(chunk.text) for chunk in split(text, 128, 0, count)]
    assert min(sizes[:-1]) > 90


def test_overlap_is_there() -> None:
    text = " ".join(f"Sentence number {number}." for number in range(200))
    chunks = check(text, 60, 12, words)
    assert all(b.start < a.end for a, b in itertools.pairwise(chunks))


def test_an_overlap_is_as_long_as_it_may_be_and_begins_where_a_sentence_does() -> None:
    text = "".join(
        f"Sentence number {number}.{' ' if number % 7 else chr(10) * 2}" for number in range(200)
    )
    chunks = check(text, 60, 12, words)
    for a, b in itertools.pairwise(chunks):
        again = text[b.start : a.end]
        assert again.startswith("Sentence number ")
        assert 2 <= again.count("Sentence") <= 3


def test_an_overlap_is_never_only_white_space_or_what_stands_before_a_heading() -> None:
    section = "# Heading\n\n" + "seven eight nine\nten eleven twelve " * 9 + "\n\n\n"
    chunks = check(section * 20, 40, 8, words)
    assert not any(chunk.text[0].isspace() for chunk in chunks)
    by_start = {chunk.start: before.end for before, chunk in itertools.pairwise(chunks)}
    headings = [m.start() for m in re.finditer("# H", section * 20) if m.start() in by_start]
    assert len(headings) > 10
    assert all(by_start[place] == place for place in headings)
    assert sum(start < end for start, end in by_start.items()) > 10, "in between there is overlap"


def test_a_long_text_takes_time_by_its_length(count) -> None:
    counted = 0

    def counting(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return count(text)

    text = prose(20_000)
    list(split(text, 128, 16, counting))
    assert counted < 10 * len(text)


def test_sizes_that_cannot_be(count) -> None:
    check_size(64, 32, count, 128)
    for limit, overlap in ((8, 0), (129, 0), (64, 33), (64, -1)):
        with pytest.raises(ArgumentError):
            check_size(limit, overlap, count, 128)
    with pytest.raises(TextError, match="a character"):
        list(split("abc", 2, 0, words))


def test_empty_and_whole() -> None:
    assert list(split("", 20, 0, words)) == []
    chunk = whole("a\nb \n\n", 7)
    assert (chunk.first_line, chunk.last_line, chunk.text) == (7, 8, "a\nb")
