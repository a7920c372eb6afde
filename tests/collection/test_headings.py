"""Headings: found in each markup, told of each piece, and embedded once."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, Embedder
from jlocal.collection.chunking.chunks import split, whole
from jlocal.collection.chunking.headings import embedded, front_matter, title_of
from jlocal.collection.chunking.markup import outline_of

MARKDOWN = """---
title: "Home: servers"
tags: [nas, backup]
---

Intro.

# NAS

## Disks ##
Two pairs.

```sh
# no heading
echo
```

Backups
-------

- restic
  ~~~~
  # neither
  ~~~~

    # nor this

| # a | b |
| --- | - |
| # c | d |

#tag and #another
Not a heading.
---

### [Off-site](https://example.org) **copies** {#off}
On a disk.
"""
TITLES = {
    "a.md": (
        MARKDOWN,
        ["0 Home: servers", "1 NAS", "2 Disks", "2 Backups", "3 Off-site copies"],
    ),
    "a.txt": (
        "# Notes\ntext\n\n# Web\nflask\n\n# a comment\n# of two lines\nx\n# below text\n\nB\n===\n",
        ["1 Notes", "1 Web", "1 B"],
    ),
    "a.org": (
        "#+TITLE: Home\n* NAS\n** TODO Disks\n#+begin_src sh\n* no\n#+end_src\n*bold* text\n* B",
        ["0 Home", "1 NAS", "2 TODO Disks", "1 B"],
    ),
    "a.rst": (
        "====\nHome\n====\n\nNAS\n===\n\ntext\n\nDisks\n-----\n\nshort\n--\n\nBackups\n=======\n",
        ["1 Home", "2 NAS", "3 Disks", "2 Backups"],
    ),
    "a.adoc": (
        "= Home\n\n== NAS ==\n----\n== no\n----\n=== Disks",
        ["1 Home", "2 NAS", "3 Disks"],
    ),
    "a.tex": (
        "\\section{Home}\\label{h}\n\\subsection*{NAS \\& co}\n% \\section{no}\n",
        ["3 Home", "4 NAS \\& co"],
    ),
    "a.py": ("#!/usr/bin/python\n# comment\n\n# another\n", []),
    "a.yaml": ("# comment\nkey: value\n", []),
    "a.sh": ("# comment\n\nsection\n=======\n", []),
    "Makefile": ("# comment\n\nall:\n", []),
    "script.txt": ("#!/bin/sh\n\n# comment\n\ntrue\n", []),
    "b.md": ("\r\n# Win\r\ntext\r\n\r\nDows\r\n====\r\ntext", ["1 Win", "1 Dows"]),
    "open.md": ("# A\n```\n# never closed", ["1 A"]),
}


@pytest.mark.parametrize("name", TITLES)
def test_headings_are_found_and_comments_are_none(name: str) -> None:
    text, titles = TITLES[name]
    outline = outline_of(text, name)
    assert [f"{part.level} {part.title}" for part in outline.headings] == titles
    for part in outline.headings:
        assert part.start < part.end <= len(text)
        assert title_of(part.title) == part.title


def test_blocks_are_front_matter_code_and_tables() -> None:
    found = [MARKDOWN[start:end] for start, end in outline_of(MARKDOWN, "a.md").blocks]
    assert [text.split("\n")[0].strip() for text in found] == [
        "---",
        "```sh",
        "~~~~",
        "| # a | b |",
    ]
    assert [text.rstrip()[-3:] for text in found] == ["---", "```", "~~~", "d |"]


def test_front_matter_is_told_from_a_text_between_rules() -> None:
    toml = front_matter('+++\ntitle = "B"\n[extra]\nx = 1\n+++\ntext')
    assert toml
    assert toml.title == "B"
    folded = front_matter("---\ntitle: >\n  Long\nlist:\n- a\n\n# note\n---")
    assert folded
    assert not folded.title
    for text in ("---\nSome words.\n---\n", "a\n---\nb: c\n---\n", "---\na: b\n", "", "---"):
        assert front_matter(text) is None


def test_a_piece_has_the_headings_that_all_of_it_is_under() -> None:
    outline = outline_of(MARKDOWN, "a.md")

    def above(first: str, last: str) -> tuple[str, ...]:
        start = MARKDOWN.index(first)
        return outline.above(MARKDOWN, start, MARKDOWN.index(last, start) + len(last))

    title = "Home: servers"
    assert above("---", "Intro.") == (title,)
    assert above("Two pairs", "echo") == (title, "NAS", "Disks")
    assert above("# NAS", "Two") == (title, "NAS", "Disks"), "as it begins with both"
    assert above("Backups\n", "restic") == (title, "NAS", "Backups")
    assert above("## Disks", "restic") == (title, "NAS"), "of two sections, neither"
    assert above("restic", "On a disk") == (title, "NAS", "Backups")
    assert whole(MARKDOWN, outline=outline).heading == title
    again = "---\ntitle: NAS\n---\n# NAS\n## NAS\ntext"
    assert outline_of(again, "a.md").above(again, 0, len(again)) == ("NAS",)


def test_long_headings_are_bounded() -> None:
    text = "".join(f"{'#' * level} {level} {'word ' * 900}\n\n" for level in range(1, 7)) + "text"
    titles = outline_of(text, "a.md").above(text, text.index("text"), len(text))
    assert 0 < sum(map(len, titles)) <= 300
    assert titles[-1].startswith("6 word")
    assert titles[-1].endswith("…")


def test_each_heading_is_embedded_once() -> None:
    assert embedded("", "text") == "text"
    assert embedded("Home\nNAS", "Two pairs") == "Home\nNAS\nTwo pairs"
    assert embedded("Home\nNAS", "## NAS\n\nTwo pairs") == "Home\n## NAS\n\nTwo pairs"
    assert embedded("Home\nNAS", "# Home\n\nNAS\n---\nx") == "# Home\n\nNAS\n---\nx"
    assert embedded("Home", "---\ntitle: Home\ntags: [a]\n---\n\nx") == "Home\nx"
    assert embedded("Home", "---\ntitle: Home\n---\n# Home\nx") == "# Home\nx"
    assert embedded("", "---\ntags: [a]\n---\n") == "---\ntags: [a]\n---\n"
    assert embedded("NAS & co", "\\section{NAS & co}\nx") == "\\section{NAS & co}\nx"


def words(text: str) -> int:
    """Count tokens as a simple model might."""
    return 3 + len(re.findall(r"\w+|[^\w\s]", text))


@pytest.mark.parametrize("limit", [24, 48, 96])
def test_what_is_embedded_is_within_the_limit_and_no_heading_ends_a_chunk(limit: int) -> None:
    section = "{0} Section {1}\n\n{0}# Part {1} of it\n\nSome words. Of a text.\n- one\n- two\n\n"
    text = MARKDOWN + "".join(
        section.format("#" * (1 + number % 3), number) + "more and more words\n" * (number % 7)
        for number in range(60)
    )
    outline = outline_of(text, "a.md")
    chunks = list(split(text, limit, 0, words, outline=outline, headings=True))
    assert "".join(text[chunk.start : chunk.end] for chunk in chunks) == text
    for chunk in chunks:
        assert words(embedded(chunk.heading, chunk.text)) <= limit
        assert title_of(chunk.text.split("\n")[-1]) not in {part.title for part in outline.headings}
    assert chunks[0].text.startswith("---\ntitle")
    assert "Intro." in chunks[0].text
    deep = [chunk for chunk in chunks if chunk.text.startswith("more and more")]
    assert all(chunk.heading for chunk in deep)


def test_sections_are_apart_unless_they_are_short() -> None:
    long, short = "Some words of this section. " * 4, "Two words. "
    text = "".join(
        f"## Section {number}\n\n{long if number % 4 else short}\n\n" for number in range(1, 13)
    )
    outline = outline_of(text, "a.md")
    chunks = list(split(text, 80, 0, words, outline=outline, headings=True))
    assert all(chunk.text.startswith("## Section") for chunk in chunks)
    assert [chunk.text.count("##") for chunk in chunks] == [1, 1, 1, 2, 1, 1, 2, 1, 2]
    assert chunks[0].heading == "Section 1"
    assert len(list(split(text, 400, 0, words, outline=outline, headings=True))) < 5


def test_code_and_tables_are_left_whole_and_lists_are_cut_between_items() -> None:
    code = "```\nthree of code. And more.\n\nthree of code\n```\n"
    table = "| a. b | c. d |\n" * 4
    text = ("A few words before it. And more of them, too.\n\n" + code + "\n" + table + "\n") * 30
    chunks = list(split(text, 60, 0, words, outline=outline_of(text, "a.md")))
    assert len(chunks) > 20
    assert all(chunk.text.count("```") % 2 == 0 for chunk in chunks)
    assert all(chunk.text.count("| a. b |") % 4 == 0 for chunk in chunks)
    text = "- One item. It has two sentences,\n  and a second line.\n" * 40
    assert all(chunk.text.startswith("- One") for chunk in split(text, 60, 0, words))
    text = "| a. b | c. d |\n" * 400
    outline = outline_of(text, "a.md")
    assert all(c.text.startswith("| a") for c in split(text, 60, 0, words, outline=outline))


@pytest.mark.parametrize("sentences", range(8, 40))
def test_no_short_rest_is_a_chunk_of_its_own(sentences: int) -> None:
    text = " ".join(f"Sentence number {number} is here." for number in range(sentences))
    chunks = list(split(text, 50, 0, words))
    assert len(chunks) == 1 or min(words(chunk.text) for chunk in chunks) > 14


def vectors(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """Read the vectors of a collection, by heading and text."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT heading, text, vector FROM passage").fetchall()
    return {(heading, text): np.frombuffer(vector, "<f4") for heading, text, vector in found}


SECTION = "The two disks are copied every night, and once a week to a third one. " * 9
NOTE = f"---\ntitle: Home\ntags: [nas]\n---\n# NAS\n\n## Disks\n\n{SECTION}\n\n## Copies\n\nNone.\n"


def test_headings_are_kept_found_and_embedded(starter: Embedder, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(NOTE)
    (tmp_path / "b.py").write_text("# NAS\n\nprint()\n")
    with Collection(tmp_path / "c.db", starter) as collection:
        collection.index(tmp_path, include=["a.md", "b.py"])
        assert collection.config.headings
        hits = collection.search("copies of the disks every night", mode="meaning")
    best = next(hit for hit in hits if hit.path.endswith("a.md"))
    assert best.headings[:2] == ("Home", "NAS")
    found = vectors(tmp_path / "c.db")
    assert {heading for heading, _ in found} == {"Home\nNAS\nDisks", "Home\nNAS", ""}
    for (heading, text), vector in found.items():
        assert vector @ starter.encode_document(embedded(heading, text)) > 0.9999
        if not text.startswith(("---", "#")):
            assert vector @ starter.encode_document(text) < 0.999


def test_whole_texts_are_embedded_as_they_are(starter: Embedder, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(NOTE)
    with Collection(tmp_path / "c.db", starter) as collection:
        collection.index(tmp_path / "a.md", chunk=None)
        assert not collection.config.headings
    ((passage, vector),) = vectors(tmp_path / "c.db").items()
    assert passage == ("Home\nNAS", NOTE.rstrip())
    assert vector @ starter.encode_document(NOTE.rstrip()) > 0.9999


def test_a_page_whose_headings_alone_changed_has_changed(starter: Embedder, tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    for level, heading in ((2, "NAS\nDisks"), (1, "Disks")):
        page.write_text(f"<h1>NAS</h1><h{level}>Disks</h{level}><p>Two pairs.")
        with Collection(tmp_path / "c.db", starter) as collection:
            report = collection.index(page)
            assert (report.new, report.changed) == ((1, 0) if level == 2 else (0, 1))
            (hit,) = collection.search("disks", mode="meaning")
        assert "\n".join(hit.headings) == heading
