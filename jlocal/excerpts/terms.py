"""The words of a query, and their matches in a text."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from jlocal.collection.database.stems import stem
from jlocal.excerpts.function_words import function_words

# Marks that belong to the letter before them, which `\w` does not hold.
MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06ed\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0980-\u0983\u09bc-\u09d7"
    "\u0a01-\u0a03\u0a3c-\u0a51\u0abc-\u0acd\u0b3c-\u0b57\u0bbe-\u0bd7\u0c3e-\u0c56\u0cbc-\u0cd6"
    "\u0d3b-\u0d4d\u0dca-\u0ddf\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\u3099\u309a\ufe20-\ufe2f"
)
# Thai, Lao, Tibetan, Myanmar, Khmer, kana, Han and Hangul are compared by pairs of letters: there
# is no space between words, or endings are many.
_UNSPACED = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
# The pattern of all words takes a while to compile, which most texts do not need: they have no
# marks and no letters but Latin, Greek and Cyrillic ones.
_SPECIAL = re.compile("[\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u20d0-\u20f0\u2e80-\U0010ffff]")
_NUMBER = "[1-9][0-9]{0,2}(?:[.,'\u2019\u00a0\u202f][0-9]{3})+(?![^\\W_])"
_PLAIN_WORD = re.compile(rf"()(?:{_NUMBER}|[^\W_]+)")
# Separators of thousands: 9,500 is 9500.
_NO_SEPARATORS = str.maketrans("", "", ".,'\u2019\u00a0\u202f")
# The weight of a word that nearly matches a word of the query.
_NEAR = 0.7
_LONGEST_ENDING = 3
_SHORTEST_STEM = 4
# The number of first letters that a word and its stem always share.
_SAME_IN_STEM = 2


def is_plain(text: str) -> bool:
    """Tell whether a text has no marks, and no letters but Latin, Greek and Cyrillic ones."""
    return _SPECIAL.search(text) is None


@functools.cache
def _any_word() -> re.Pattern[str]:
    return re.compile(f"([{_UNSPACED}]+)|{_NUMBER}|(?:(?![{_UNSPACED}_])[\\w{MARKS}])+")


def _words(text: str) -> Iterator[re.Match[str]]:
    """Find the words of a text; the first group is one in letters that have no spaces between."""
    return (_PLAIN_WORD if is_plain(text) else _any_word()).finditer(text)


@dataclass(frozen=True)
class Match:
    """A word of the query in a text: from `start` to `end`, in characters."""

    start: int
    end: int
    term: str
    weight: float


class Terms:
    """The words of a query.

    A word of a text matches where it is the same but for case and accents, or has the same stem;
    in other letters than Latin ones, where it differs by a short ending.
    """

    def __init__(self, query: str) -> None:
        """Read the words of a query, whatever it holds."""
        words = set(_terms(query)) - {""}
        self._exact = words - function_words(words) or words
        self._pairs = {term for term in self._exact if _is_unspaced(term)}
        self._stems: dict[str, str] = {}
        self._shorter: dict[str, str] = {}
        self._endings: dict[str, str] = {}
        for term in sorted(self._exact - self._pairs):
            if term.isascii():
                self._stems.setdefault(stem(term), term)
                continue
            self._endings.setdefault(term, term)
            for shorter in _without_ending(term):
                self._shorter.setdefault(shorter, term)
            # Both words may have an ending.
            for shorter in _without_ending(term)[:2]:
                self._endings.setdefault(shorter, term)
        self._beginnings = {term[:_SAME_IN_STEM] for term in self._stems.values()}
        self._meaning = functools.lru_cache(maxsize=4096)(self._match)

    def __bool__(self) -> bool:
        return bool(self._exact)

    def matches(self, text: str) -> list[Match]:
        """Find the words in a text, in the order of the text; pairs of letters may overlap."""
        if not self._exact:
            return []
        matches: list[Match] = []
        for word in _words(text):
            if word[1]:
                matches += self._in_unspaced(word[1], word.start())
            elif meaning := self._meaning(word[0]):
                matches.append(Match(word.start(), word.end(), *meaning))
        return matches

    def _match(self, word: str) -> tuple[str, float] | None:
        word = _folded(word)
        if word in self._exact:
            return word, 1.0
        near = self._of_same_stem(word) if word.isascii() else self._of_other_ending(word)
        return None if near is None else (near, _NEAR)

    def _of_same_stem(self, word: str) -> str | None:
        is_possible = word[:_SAME_IN_STEM] in self._beginnings
        return self._stems.get(stem(word)) if is_possible else None

    def _of_other_ending(self, word: str) -> str | None:
        candidates = (self._shorter.get(word), *map(self._endings.get, _without_ending(word)))
        return next((term for term in candidates if term), None)

    def _in_unspaced(self, run: str, start: int) -> list[Match]:
        lengths = sorted({len(term) for term in self._pairs})
        return [
            Match(start + at, start + at + length, run[at : at + length], 0.5)
            for at in (range(len(run)) if lengths else ())
            for length in lengths
            if run[at : at + length] in self._pairs
        ]


def _terms(query: str) -> Iterator[str]:
    """List the words of a query as they are compared."""
    for word in _words(query):
        run = word[1]
        if not run:
            yield _folded(word[0])
        elif len(run) == 1:
            yield run
        else:
            yield from (run[at : at + 2] for at in range(len(run) - 1))


def _is_unspaced(term: str) -> bool:
    word = next(_words(term), None)
    return bool(word and word[1])


def _without_ending(word: str) -> list[str]:
    """List the word without each short ending, longest first."""
    shortest = max(len(word) - _LONGEST_ENDING, _SHORTEST_STEM)
    return [word[:length] for length in range(len(word) - 1, shortest - 1, -1)]


def _folded(word: str) -> str:
    """Return a word without case and accents, and a number without separators."""
    word = word.translate(_NO_SEPARATORS)
    if word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
