"""Parts of documents are read from the collection, never from the disk."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from jlocal import ArgumentError, Collection, CollectionError, Embedder
from support.pdfs import pdf

WORDS = [
    "the",
    "harbour",
    "keeps",
    "rules",
    "on",
    "a",
    "board",
    "behind",
    "office",
    "boats",
    "wait",
]


@pytest.fixture(scope="module")
def model(starter: Embedder) -> Embedder:
    return starter


def long_text(seed: int = 1, paragraphs: int = 40, *, newline: str = "\n") -> str:
    """Return paragraphs with lists, headings and code, whose lines differ."""
    choose = random.Random(seed)
    parts = []
    for number in range(paragraphs):
        words = " ".join(choose.choice(WORDS) for _ in range(choose.randrange(5, 60)))
        parts.append(
            choose.choice(
                (
                    f"## Part {number}\n\n{words}.",
                    f"{words}.\n{words} {number}?",
                    f"- {number}\n- 😀 {words}",
                    f"```\n  code {number}\n\n  {words}\n```",
                )
            )
        )
    return "\n\n".join(parts).replace("\n", newline)


def alike(text: str) -> str:
    """Return text in which all white space is equal: that between passages is not stored."""
    return re.sub(r"\s", " ", text)


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [0, 20])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_part_is_the_one_of_the_file(
    tmp_path: Path, collection: Collection, overlap: int, newline: str
) -> None:
    text = long_text(newline=newline)
    path = tmp_path / "notes.md"
    path.write_bytes(text.encode())
    collection.index(path, chunk=64, overlap=overlap)
    path.unlink()
    assert collection.get(path).passages > 20
    choose = random.Random(2)
    spans = [
        (0, 0),
        (0, len(text)),
        (len(text) - 1, 9),
        *((choose.randrange(3000), n) for n in range(200)),
    ]
    for start, length in spans:
        part = collection.read(path, 0, start, length)
        assert (part.start, part.end) == (start, min(start + length, len(text)))
        assert alike(part.text) == alike(text[start : part.end])
        assert part.length == len(text)
        assert part.following == (None if part.end == len(text) else (0, part.end))
        if part.text[:1].strip():
            assert part.first_line == 1 + text.count("\n", 0, start)
            assert part.last_line == part.first_line + part.text.count("\n")


@pytest.mark.slow
def test_the_lines_of_a_part_are_those_of_the_file(tmp_path: Path, collection: Collection) -> None:
    text = long_text(3)
    path = tmp_path / "notes.md"
    path.write_text(text)
    collection.index(path, chunk=64)
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        record, start = collection.find_line(path, number)
        assert record == 0
        if line:
            assert start == sum(len(one) + 1 for one in lines[: number - 1])
            assert collection.read(path, 0, start, len(line)).text == line.rstrip()
    assert collection.find_line(path, len(lines) + 1) is None


@pytest.mark.slow
def test_a_hit_is_in_the_part_that_it_names(tmp_path: Path, collection: Collection) -> None:
    for seed in range(3):
        (tmp_path / f"{seed}.md").write_text(long_text(seed))
    collection.index(tmp_path, chunk=64, overlap=16, include=["*.md"])
    collection.add([f"An added text.\n\n{long_text(9)}"], ["added"])
    for mode in ("words", "meaning"):
        hits = collection.search("boats behind the office", n=9, mode=mode)
        assert len(hits) == 4
        for hit in hits:
            around = collection.read(hit.path, hit.record, max(0, hit.start - 50), 5000)
            assert around.text[hit.start - around.start :][: len(hit.text)] == hit.text
            assert collection.read(hit.path, hit.record, hit.start, len(hit.text)).text == hit.text


@pytest.mark.slow
def test_one_endless_line_is_read_around_a_hit(tmp_path: Path, collection: Collection) -> None:
    text = " ".join(f"word{number}" for number in range(3000)) + " walrus"
    (tmp_path / "line.txt").write_text(text)
    collection.index(tmp_path / "line.txt", chunk=128)
    (hit,) = collection.search("walrus", mode="words")
    part = collection.read(hit.path, hit.record, hit.start, 100_000)
    assert part.text.endswith("walrus")
    assert part.start > 20_000
    assert (part.first_line, part.last_line, part.following) == (1, 1, None)


def test_pages_follow_each_other(tmp_path: Path, collection: Collection) -> None:
    path = tmp_path / "book.pdf"
    path.write_bytes(pdf("first page", "", "third page"))
    collection.index(path)
    first = collection.read(path)
    assert (first.text, first.following) == ("first page", (2, 0))
    empty = collection.read(path, 1)
    assert (empty.text, empty.length, empty.following) == ("", 0, (2, 0))
    assert collection.read(path, *first.following).text == "third page"
    assert collection.find_line(path, 1, record=2) == (2, 0)
    (hit, *_) = collection.search("third", mode="words")
    assert (hit.page, hit.record, hit.start) == (3, 2, 0)


def test_records_are_found_by_their_lines(tmp_path: Path, collection: Collection) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "row {number}"}}\n' for number in range(5)))
    collection.index(path, fields=["text"])
    assert collection.find_line(path, 4) == (3, 0)
    assert collection.read(path, 3).text == "row 3"


def test_what_is_not_there(tmp_path: Path, collection: Collection) -> None:
    with pytest.raises(CollectionError):
        collection.read("a")
    collection.add(["One text."], ["a"])
    assert collection.read("b") is None
    assert collection.find_line("b", 1) is None
    far = collection.read("a", 1 << 70, 1 << 70, 1 << 70)
    assert (far.text, far.length, far.following) == ("", 0, None)
    beyond = collection.read("a", 0, 1 << 70)
    assert (beyond.text, beyond.start, beyond.end) == ("", 9, 9)
    for arguments in ((-1,), (0, -1), (0, 0, -1), (0.5,)):
        with pytest.raises(ArgumentError):
            collection.read("a", *arguments)
    with pytest.raises(ArgumentError):
        collection.find_line("a", 0)
