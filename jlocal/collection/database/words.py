r"""Split texts and queries into words, also in scripts without spaces between words.

The result of `segmented` is stored in each collection's full-text index: any change of it needs a
migration that rebuilds the index. Scripts are therefore recognised by the code points listed here,
not by Python's character tables, which differ between versions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from jlocal.collection.database.stopwords import STOP_WORDS

# A unit is a consonant with the vowels and marks around it, or an ideograph, or a syllable.
_IDEOGRAPH = (
    "[\u2e80-\u2fd5\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u31f0-\u31ff]"
)
_HANGUL = "[\uac00-\ud7a3]"
_THAI = "[\u0e40-\u0e44]?[\u0e01-\u0e2f][\u0e30-\u0e3a\u0e45-\u0e4e]*|[\u0e30-\u0e3a\u0e40-\u0e4e]"
_LAO = "[\u0ec0-\u0ec4]?[\u0e81-\u0eaf\u0edc-\u0edf][\u0eb0-\u0ebd\u0ec6-\u0ecd]*|[\u0eb0-\u0ecd]"
_KHMER = (
    "[\u1780-\u17b3](?:\u17d2[\u1780-\u17b3]|[\u17b6-\u17d1\u17d3\u17dd])*"
    "|[\u17b6-\u17d3\u17d7\u17dc\u17dd]"
)
_BURMESE = (
    "[\u1000-\u102a\u103f\u1050-\u1055](?:\u1039[\u1000-\u102a]|[\u1000-\u102a]\u103a"
    "|[\u102b-\u1038\u103a-\u103e\u1056-\u1059])*|[\u102b-\u103e\u1056-\u109f\uaa60-\uaa7f]"
)
_SCRIPTS = (_IDEOGRAPH, _HANGUL, _THAI, _LAO, _KHMER, _BURMESE)
_RUN = re.compile("|".join(f"(?:{piece})+" for piece in _SCRIPTS))
_PIECE = re.compile("|".join(_SCRIPTS))

# Letters with two spellings, beside those whose accents FTS5 removes; and soft hyphens, and vowels
# of Arabic and Hebrew, which are usually not written.
_FOLDED = {0xDF: "ss", 0xE6: "ae", 0xC6: "AE", 0x153: "oe", 0x152: "OE"} | str.maketrans(
    "\u0622\u0623\u0625\u0671\u0649\u06cc\u0629\u06a9"
    "\u03ac\u03ad\u03ae\u03af\u03cc\u03cd\u03ce\u03ca\u03cb\u0390\u03b0"
    "\u0386\u0388\u0389\u038a\u038c\u038e\u038f\u0451\u0401\u00f8\u00d8\u0142\u0141\u0111\u0110",
    "\u0627\u0627\u0627\u0627\u064a\u064a\u0647\u0643"
    "\u03b1\u03b5\u03b7\u03b9\u03bf\u03c5\u03c9\u03b9\u03c5\u03b9\u03c5"
    "\u0391\u0395\u0397\u0399\u039f\u03a5\u03a9\u0435\u0415oOlLdD",
    "\u00ad\u0640\u0670" + "".join(map(chr, (*range(0x64B, 0x660), *range(0x591, 0x5BE)))),
)
# Names that are not UTF-8 hold lone surrogates.
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
_BETWEEN = re.compile("[\\s!-/:-@\\[-`{-~\u2000-\u206f\u3000-\u3004\u3008-\u301f]+")
# In a number with separated thousands, such as 9,500, 9.500 or 9 500, each group is a word.
_NUMBER = re.compile(
    r"(?<![\w.,'\u2019])[1-9](?:[0-9]{3,14}"
    r"|[0-9]{0,2}(?P<separator>[ .,'\u2019])[0-9]{3}(?:(?P=separator)[0-9]{3}){0,4})"
    r"(?!\w|[.,'\u2019][0-9]{3})"
)
_GROUP = re.compile("[0-9]{1,3}(?=(?:[0-9]{3})*$)")

# Decide and decision, extend and extension: the rule rarely joins unrelated English words.
_VERB = re.compile("([a-z]{2,}[aeiou](?=d[ei])|[a-z]{3,}n(?=d))d(?:e|es|ed|s|ing)?")
_NOUN = re.compile("([a-z]{2,}[aeiou]|[a-z]{3,}n)sions?")

# The spellings of a term of a query, each a string, a phrase or a prefix in FTS5's syntax.
Term = tuple[str, ...]


def segmented(text: str) -> str:
    """Return a text with spaces between all searchable words.

    A run without spaces becomes the pairs of neighbouring units, and its last unit, so that each
    unit begins a word.
    """
    return _RUN.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", _plain(text))


def query_terms(query: str) -> list[Term]:
    """Return the terms of a query, each once.

    Stop words are left out, unless there are no other words.
    """
    terms = list(dict.fromkeys(_terms(query)))
    return [term for term in terms if term[0][1:-1] not in STOP_WORDS] or terms


def _terms(query: str) -> Iterator[Term]:
    text, end = _plain(query).lower(), 0
    for run in _RUN.finditer(text):
        yield from _spaced(text[end : run.start()])
        *pairs, last = _pairs(run[0])
        yield from _quoted(pairs) if pairs else ((f'"{last}"*',),)
        end = run.end()
    yield from _spaced(text[end:])


def _spaced(text: str) -> Iterator[Term]:
    """Yield the terms of a text with spaces between words."""
    end = 0
    for number in _NUMBER.finditer(text):
        yield from _quoted(_BETWEEN.split(text[end : number.start()]))
        groups = _GROUP.findall(re.sub("[^0-9]", "", number[0]))
        whole, parted = f'"{"".join(groups)}"', f'"{" ".join(groups)}"'
        if number["separator"] == " ":
            # It may also be two numbers in a row.
            yield from _quoted(groups)
            yield (whole,)
        else:
            yield whole, parted
        end = number.end()
    yield from _quoted(_BETWEEN.split(text[end:]))


def _plain(text: str) -> str:
    text = _NO_CHARACTER.sub(" ", text)
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_FOLDED)


def _pairs(run: str) -> list[str]:
    pieces = _PIECE.findall(run)
    return [a + b for a, b in zip(pieces, [*pieces[1:], ""], strict=True)]


def _quoted(words: Iterable[str]) -> Iterator[Term]:
    for word in words:
        # FTS5 ignores other characters, such as currency signs.
        if any(map(str.isalnum, word)):
            yield tuple(f'"{way}"' for way in (word, *_relatives(word)))


def _relatives(word: str) -> Iterator[str]:
    """Yield the noun of a verb or the verb of a noun, where their stems differ."""
    if verb := _VERB.fullmatch(word):
        yield f"{verb[1]}sion"
    elif noun := _NOUN.fullmatch(word):
        yield f"{noun[1]}d"
