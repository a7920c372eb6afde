"""What is shown of a passage: the sentences that match, as a person reads them."""

from __future__ import annotations

import random
import re
import time
import unicodedata

import pytest
from wcwidth import wcswidth

from jlocal.excerpts.columns import clipped, clipped_left, width, wrapped
from jlocal.excerpts.excerpt import excerpt, marked, paragraphs
from jlocal.excerpts.terms import Terms
from support.texts import AWKWARD

NOTE = """\
---
title: Backup strategy
tags: [nas, backup]
---
# Backups

We met on Tuesday. Anna had looked at **borg**, [restic](https://restic.net) and `rsnapshot`. We
decided on restic nightly, plus a USB disk that is kept in the office of the
treasurer. Costs are small.

Nobody spoke of the printer. It rained.
"""


def shown(text: str, query: str = "", columns: int = 77, lines: int = 3, **options) -> list[str]:
    """Return the lines of an excerpt, with words of the query in brackets."""
    return [
        "".join(f"[{piece.text}]" if piece.is_match else piece.text for piece in line)
        for line in excerpt(text, Terms(query), columns, lines, **options)
    ]


def test_the_sentences_that_match_are_shown() -> None:
    assert shown(NOTE, "what did we decide about restic", headings=("Backups",)) == [
        "We met on Tuesday. Anna had looked at borg, [restic] and rsnapshot. We [decided]",
        "on [restic] nightly, plus a USB disk that is kept in the office of the",
        "treasurer. Costs are small. …",
    ]
    (line,) = shown(NOTE, "printer", lines=1)
    assert line == "Nobody spoke of the [printer]. It rained."
    # Two words that stand far apart.
    text = "An apple. " + "Nothing here is of note. " * 20 + "A pear. The end of it."
    lines = shown(text, "pear apple")
    assert lines[0].startswith("An [apple]. ")
    assert " ".join(lines).endswith("… A [pear]. The end of it.")


def test_where_no_word_matches_the_beginning_is_shown() -> None:
    assert shown("First things first. " * 30, "zebra", lines=1) == [
        "First things first. First things first. First things first. …"
    ]
    assert shown("All of it.", "zebra") == ["All of it."]
    assert shown("", "x") == shown(" \n\n", "x") == []
    assert shown("text", "x", lines=0) == []


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("backups", "Backup, BACKUPS and backed-up", "[Backup], [BACKUPS] and backed-up"),
        ("cafe creme", "Café à la crème", "[Café] à la [crème]"),
        ("café", "cafe\u0301 CAFE", "[cafe\u0301] [CAFE]"),
        ("decide policy", "deciding policies, decided", "[deciding] [policies], [decided]"),
        ("backups", "Back up; he is back, backed by Bach", "Back up; he is back, backed by Bach"),
        ("running notes", "runs, run, runner, noted", "[runs], [run], runner, [noted]"),
        ("policy", "police, policies, polite", "police, [policies], polite"),
        ("cat", "cats, catalogue, concatenate", "[cats], catalogue, concatenate"),
        ("Straße", "STRASSE strasse", "[STRASSE] [strasse]"),
        ("the who", "The band is The Who", "[The] band is [The] [Who]"),
        ("where is the nas", "Where the NAS is", "Where the [NAS] is"),
        ("京都の桜", "四月に京都へ行き、桜を見た", "四月に[京都]へ行き、桜を見た"),
        ("桜", "桜を見た", "[桜]を見た"),
        ("การสำรอง", "เราทำการสำรองข้อมูล", "เราทำ[การสำรอง]ข้อมูล"),
        ("백업", "백업을 매일 한다", "[백업]을 매일 한다"),
        ("резервной копии", "Резервная копия", "[Резервная] [копия]"),
        ("نسخة", "هذه نُسخة احتياطية", "هذه [نُسخة] احتياطية"),
        ("हिन्दी", "यह हिन्दी है", "यह [हिन्दी] है"),
        ("C", "C and C++ but not cc", "[C] and [C]++ but not cc"),
        ("* NEAR( [x]", "near x", "[near] [x]"),
        ("", "nothing", "nothing"),
        ("?!", "nothing?!", "nothing?!"),
    ],
)
def test_words_of_the_query_are_marked(query: str, text: str, expected: str) -> None:
    line = "".join(f"[{p.text}]" if p.is_match else p.text for p in marked(text, Terms(query)))
    assert line == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- milk\n- eggs\n  - ten\n1. one", ["- milk", "- eggs", "  - ten", "1. one"]),
        ("- [ ] open\n- [x] done", ["- [ ] open", "- [x] done"]),
        ("Two roads diverged,\nAnd sorry I was", ["Two roads diverged,", "And sorry I was"]),
        ("```py\nif x:\n    y()\n```\nAfter.", ["if x:", "    y()", "After."]),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", ["a · b", "1 · 2"]),
        ("a | b\n--|--\n1 | 2\n\nx | y", ["a · b", "1 · 2", "x | y"]),
        ("+---+---+\n| a | b |\n+---+---+", ["a · b"]),
        ("Title\n=====\n\ntext\n\n* * *\n\n---\nend", ["Title", "text", "end"]),
        ("# A *b*  #\ntext", ["A b", "text"]),
        ("> quoted\n> > twice", ["quoted", "twice"]),
        ("a **b** __c__ *d* _e_ ~~f~~ `g` ***h***", ["a b c d e f g h"]),
        ("snake_case 2*3*4 a * b * c", ["snake_case 2*3*4 a * b * c"]),
        ("see [the page](http://x.org/a_(b) \"T\") and ![alt](i.png)", ["see the page and alt"]),
        ("[[Note|its name]], [[Other]], [a][1], b[^1]\n\n[1]: http://x.org",
         ["its name, Other, a, b"]),
        ("<div class='x'>In <b>HTML</b>&nbsp;&amp; more<br/></div>", ["In HTML\u00a0& more"]),
        ("<!-- a\ncomment -->if a<b and c>d, List<String>", ["if a<b and c>d, List<String>"]),
        ("cat x | grep y | wc", ["cat x | grep y | wc"]),
        ("---\ntitle: T\ntags:\n  - a\n---\nText.", ["T", "Text."]),
        ("---\ntags: [a]\n---\nText.", ["Text."]),
        ("---\ntags: [a]\n---\n", ["tags: [a]"]),
        ("---\nA line.\n\nIt is no field.\n---\nEnd.", ["A line.", "It is no field.", "End."]),
        (r"1 \* 2 \_", ["1 * 2 _"]),
        ("soft\u00adhyphen\u200b \ufeff\u202eabc", ["softhyphen abc"]),
    ],
)  # fmt: skip
def test_marks_of_markup_are_left_out(text: str, expected: list[str]) -> None:
    assert shown(text, lines=9) == expected


def test_lines_of_a_paragraph_are_joined_where_they_were_full() -> None:
    text = (
        "This is a paragraph that was broken by an editor at about eighty columns, as\n"
        "notes in Markdown often are, and so its lines mean nothing to anybody who\n"
        "reads it."
    )
    assert shown(text, columns=200) == [text.replace("\n", " ")]
    han = "火星被称为红色星球，因为它的表面有很多氧化铁，所以看起来是红色的，\n这一点大家都知道。"
    assert shown(han, columns=200) == [han.replace("\n", "")]


def test_programs_and_data_stay_as_they_are() -> None:
    text = "    def f(**k):\n\tx = __init__[a](b)\n\n    | no table |"
    expected = ["def f(**k):", "x = __init__[a](b)", "| no table |"]
    assert shown(text, is_code=True) == expected


def test_the_heading_is_not_repeated() -> None:
    text = "# Outer\n\n## Backup *plans*\n\ntext\n\nInner\n-----\nmore"
    assert shown(text, headings=("Outer", "Backup plans", "Inner")) == ["text", "more"]


def test_the_best_part_of_a_long_passage() -> None:
    text = "Words without end. " * 3000 + "\n\n```\nneedle = 1\n```\n" + "More words. " * 3000
    started = time.monotonic()
    lines = shown(text, "where is the needle")
    assert "[needle] = 1" in lines
    assert time.monotonic() - started < 5
    assert len(lines) == 3
    assert lines[0].startswith("…") or lines[0].endswith("…") or lines[0] == "[needle] = 1"


HOSTILE = {
    "brackets": "[[" * 300_000,
    "links": "[a](" * 200_000,
    "pipes": "a |" * 300_000,
    "stars": "*a " * 300_000,
    "tags": "<a " * 300_000,
    "comments": "<!--" * 200_000,
    "quotes": "> " * 400_000,
    "fences": "```\n" * 200_000,
    "dashes": "- " * 400_000,
    "rulers": "-" * 1_000_000 + "x",
    "front": "---\n" + "a: b\n" * 200_000,
    "marks": "e" + "\u0301" * 500_000,
    "joiners": "👩\u200d" * 300_000,
    "one word": "x" * 1_000_000,
    "han": "火星" * 500_000,
    "spaces": " " * 1_000_000 + "x",
    "lines": "x\n" * 500_000,
    "underscores": "_x" * 400_000,
    "backticks": "`x" * 400_000,
    "digits": "1. " * 300_000,
    "controls": "\x1b[31mred\x07\x9b\r\x00 \u2028" * 60_000,
    "boxes": "│ a " * 200_000,
}


@pytest.mark.parametrize(
    "name",
    [
        name if name == "controls" else pytest.param(name, marks=pytest.mark.slow)
        for name in HOSTILE
    ],
)
def test_hostile_text_takes_bounded_time_and_commands_nothing(name: str) -> None:
    started = time.process_time()
    for query in ("x needle", "火星 a"):
        for columns in (20, 77):
            for line in excerpt(HOSTILE[name], Terms(query), columns, 3, headings=("a",)):
                text = "".join(piece.text for piece in line)
                assert wcswidth(text) <= columns
                assert len(text) <= 17 * columns
                assert not any(
                    unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text
                )
    assert time.process_time() - started < 6


@pytest.mark.slow
def test_every_text_fits_its_lines() -> None:
    rng = random.Random(6)
    texts = [*AWKWARD.values(), NOTE]
    for text in texts:
        query = " ".join(rng.choices(text.split() or ["x"], k=3))
        for columns in (7, 20, 40, 117):
            for lines in (1, 2, 3, 6):
                rows = excerpt(text, Terms(query), columns, lines)
                assert len(rows) <= lines
                for row in rows:
                    wide = wcswidth("".join(piece.text for piece in row))
                    assert 0 <= wide <= columns


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3), ("é", 1), ("e\u0301", 1), ("火星", 4), ("👩‍💻", 2), ("❤️", 2), ("🇩🇪x", 3),
        ("שלום", 4), ("مرحبا", 5), ("한국", 4), ("ｱｲ", 2), ("a…●○›", 5), ("привет", 6),
    ],
)  # fmt: skip
def test_columns(text: str, columns: int) -> None:
    assert width(text) == columns == wcswidth(text)
    assert clipped(text, columns) == text
    assert width(clipped(text * 9, 7)) in (6, 7)
    assert width(clipped_left(text * 9, 7)) in (6, 7)
    spans = wrapped(text * 40, 10, 1000)
    assert "".join((text * 40)[start:end] for start, end in spans) == text * 40
    assert max(width((text * 40)[start:end]) for start, end in spans) <= 10


def test_lines_break_where_a_reader_expects_it() -> None:
    def lines(text: str, columns: int) -> list[str]:
        return [text[start:end] for start, end in wrapped(text, columns, 9)]

    assert lines("a quick brown fox", 9) == ["a quick", "brown fox"]
    assert lines("abcdefghijkl", 5) == ["abcde", "fghij", "kl"]
    # No line begins with a full stop, where another break is near.
    assert lines("火星是红色的。是", 12) == ["火星是红色", "的。是"]
    assert lines("", 5) == []


# The signs and links of the note.
PLAIN = re.compile(r"\*\*|`|[][]|\(http.*?\)")


@pytest.mark.parametrize("text", [NOTE, "港の規則は事務所の裏の板にある。" * 12, "word" * 90])
def test_paragraphs_are_the_lines_of_an_excerpt_before_they_are_broken(text: str) -> None:
    terms = Terms("restic 規則")
    lines = excerpt(text, terms, 40, 4)
    (paragraph,) = paragraphs(text, terms, 40, 4)
    assert len(lines) == 4
    joined = "".join(piece.text for line in lines for piece in line)
    whole = "".join(piece.text for piece in paragraph)
    assert joined.replace(" ", "") == whole.replace(" ", "")
    # No space is put between letters that have none in the text.
    assert whole.removesuffix(" …") in " ".join(PLAIN.sub("", text).split())
