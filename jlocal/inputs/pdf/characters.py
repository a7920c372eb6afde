"""Assembling the text of a PDF page from known, guessed and unknown characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

UNKNOWN = "\ufffd"
# A noncharacter in place of a hyphen at the end of a line, until its word is joined.
_HYPHEN = "\ufdd0"
_LINE_BREAKS = re.compile(r"\r\n?|[\f\v\x85\u2028\u2029]")
_NO_TEXT = re.compile(
    "[\0-\x08\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufdd1-\ufdef\ufffe\uffff\U000f0000-\U0010ffff]"
)
# Arabic letters as they are drawn within words, ligatures, and radicals that fonts give for the
# characters that look like them.
_SHAPES = re.compile(
    "[\u2f00-\u2fd5\ufb00-\ufb06\ufb1d-\ufb4f\ufb50-\ufdcf\ufdf0-\ufdfb\ufe70-\ufefc]+"
)
# A column of vertical writing, of which each character is a line.
_COLUMN = re.compile(
    "(?m)^(?:[\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]\n){2,}.$"
)
# Signs of lists in Word's symbol fonts.
_BULLETS = dict.fromkeys(map(ord, "\uf06c\uf06e\uf076\uf0a7\uf0a8\uf0b7\uf0d8\uf0e0\uf0fc"), "•")
# An unknown character beside letters is part of a word; elsewhere it is an ornament or a formula.
_HARM = re.compile(rf"[^\W\d_]{UNKNOWN}[^\W\d_]|[^\W\d_]{{2}}{UNKNOWN}|{UNKNOWN}[^\W\d_]{{2}}")
# Fewer letters may look like a language by chance.
_FEWEST = 5
_WORD = re.compile(
    r"[\"'(“‘]*(?:[^\W\d_]+(?:['’-][^\W\d_]+)*|[-+±]?\d+(?:[.,:/-]\d+)*%?)[.,;:!?)\"'”’]*"
)
_LONGEST_MEAN = 15
_VOWELS = "aeiouy"
_COMMON = "etaoinshrdlu"


@dataclass(frozen=True)
class Characters:
    """A page's characters.

    Attributes:
        codes: code points, in order; a surrogate pair may be two.
        guesses: indices of characters whose code is only their number in the font.
        hyphens: indices of hyphens at the end of a line, whose line break is left out.

    """

    codes: Sequence[int]
    guesses: Set[int] = frozenset()
    hyphens: Set[int] = frozenset()


@dataclass(frozen=True)
class Legible:
    """A page's text, with U+FFFD for unknown characters.

    Attributes:
        text: the text without white space at its ends.
        has_spaces: whether the page had only white space.
        is_harmed: whether words lack characters.
        is_mostly_undecodable: whether at least half of the characters are unknown.

    """

    text: str
    has_spaces: bool
    is_harmed: bool
    is_mostly_undecodable: bool


def legible(characters: Characters) -> Legible:
    """Assemble the text of a page."""
    letters = [chr(code) if code != ord(_HYPHEN) else UNKNOWN for code in characters.codes]
    for place in characters.hyphens:
        letters[place] = _HYPHEN
    if characters.guesses and not _is_language(letters, characters.guesses):
        for place in characters.guesses:
            if not letters[place].isspace():
                letters[place] = UNKNOWN
    # Surrogate pairs are joined, and no lone surrogate remains.
    text = "".join(letters).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = _LINE_BREAKS.sub("\n", text).translate(_BULLETS)
    text = _NO_TEXT.sub(UNKNOWN, _SHAPES.sub(_plain_letters, text))
    text = _joined(text.split(_HYPHEN))
    text = "\n".join(line.rstrip() for line in text.split("\n")).strip()
    text = _COLUMN.sub(lambda column: column[0].replace("\n", ""), text)
    visible = len(text) - sum(map(text.count, " \n\t"))
    unknown = text.count(UNKNOWN)
    return Legible(
        text,
        has_spaces=bool(letters) and not text,
        is_harmed=bool(_HARM.search(text)),
        is_mostly_undecodable=bool(unknown) and 2 * unknown >= visible,
    )


def _plain_letters(shapes: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", shapes[0])


def _joined(parts: list[str]) -> str:
    """Join words that are hyphenated at a line break, but not `Jean-Pierre` or `COVID-19`."""
    pieces = parts[:1]
    for before, after in pairwise(parts):
        last, first = before[-1:], after[:1]
        is_name = last.islower() and first.isupper()
        is_one_word = last.isalpha() and first.isalpha() and not is_name
        pieces += ["" if is_one_word else "-", after]
    return "".join(pieces)


def _is_language(letters: Sequence[str], guesses: Set[int]) -> bool:
    """Return whether the characters' numbers in a font read like words of Latin letters.

    Many fonts number their characters as ASCII does without declaring it. Others number them in
    order of appearance, or as the font file does.
    """
    text = "".join(
        letter if place in guesses or letter.isspace() else " "
        for place, letter in enumerate(letters)
    )
    pieces = text.split()
    size = sum(map(len, pieces))
    like_words = sum(len(piece) for piece in pieces if _WORD.fullmatch(piece))
    text = text.lower()
    count = sum(map(str.isalpha, text))
    vowels, common = (sum(map(text.count, group)) for group in (_VOWELS, _COMMON))
    return (
        count >= _FEWEST
        and like_words >= 0.7 * size
        and size <= _LONGEST_MEAN * len(pieces)
        and 0.25 * count <= vowels <= 0.6 * count
        and common >= 0.6 * count
        and not _is_numbered(pieces)
    )


def _is_numbered(pieces: Sequence[str]) -> bool:
    """Return whether each new character has a higher number than all before it."""
    new = list(dict.fromkeys("".join(pieces)))
    return new == sorted(new)
