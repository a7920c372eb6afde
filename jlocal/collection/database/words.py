r"""Words of texts and of queries, where a script does not tell them by spaces.

What `segmented` returns is written into the index of words of each collection: a change of it
needs a migration that makes the index anew. So scripts are told by code points that are listed
here, and not by Python's tables of characters, which are others in other versions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from jlocal.collection.database.stopwords import STOP_WORDS

# A piece is a consonant with the vowels and marks around it, or an ideograph, or a syllable.
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

# Letters that people write in two ways, beside those whose accents FTS5 removes; and soft hyphens,
# and vowels of Arabic and Hebrew, which are mostly not written.
_FOLDED = {0xDF: "ss", 0xE6: "ae", 0xC6: "AE", 0x153: "oe", 0x152: "OE"} | str.maketrans(
    "\u0622\u0623\u0625\u0671\u0649\u06cc\u0629\u06a9"
    "\u03ac\u03ad\u03ae\u03af\u03cc\u03cd\u03ce\u03ca\u03cb\u0390\u03b0"
    "\u0386\u0388\u0389\u038a\u038c\u038e\u038f\u0451\u0401\u00f8\u00d8\u0142\u0141\u0111\u0110",
    "\u0627\u0627\u0627\u0627\u064a\u064a\u0647\u0643"
    "\u03b1\u03b5\u03b7\u03b9\u03bf\u03c5\u03c9\u03b9\u03c5\u03b9\u03c5"
    "\u0391\u0395\u0397\u0399\u039f\u03a5\u03a9\u0435\u0415oOlLdD",
    "\u00ad\u0640\u0670" + "".join(map(chr, (*range(0x64B, 0x660), *range(0x591, 0x5BE)))),
)
# Half of a surrogate pair comes from names that are no UTF-8.
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
_BETWEEN = re.compile("[\\s!-/:-@\\[-`{-~\u2000-\u206f\u3000-\u3004\u3008-\u301f]+")
# Where the thousands of a number are parted, as in 9,500, 9.500 or 9 500, each part is a word.
_NUMBER = re.compile(
    r"(?<![\w.,'\u2019])[1-9](?:[0-9]{3,14}"
    r"|[0-9]{0,2}(?P<separator>[ .,'\u2019])[0-9]{3}(?:(?P=separator)[0-9]{3}){0,4})"
    r"(?!\w|[.,'\u2019][0-9]{3})"
)
_GROUP = re.compile("[0-9]{1,3}(?=(?:[0-9]{3})*$)")

# Decide and decision, extend and extension: few words of English become others so.
_VERB = re.compile("([a-z]{2,}[aeiou](?=d[ei])|[a-z]{3,}n(?=d))d(?:e|es|ed|s|ing)?")
_NOUN = re.compile("([a-z]{2,}[aeiou]|[a-z]{3,}n)sions?")

# The ways to write a term of a query, each a string, a phrase or a prefix in the syntax of FTS5.
Term = tuple[str, ...]


def segmented(text: str) -> str:
    """Return a text in which spaces part all that is a word to search for.

    A run without spaces becomes each pair of neighbours, and its last piece, so that each piece
    begins a word.
    """
    return _RUN.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", _plain(text))


def query_terms(query: str) -> list[Term]:
    """Return what a query asks for, each once.

    Words that any text has are left out, unless there are no others.
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
    """Yield the terms of a text in which spaces part words."""
    end = 0
    for number in _NUMBER.finditer(text):
        yield from _quoted(_BETWEEN.split(text[end : number.start()]))
        groups = _GROUP.findall(re.sub("[^0-9]", "", number[0]))
        whole, parted = f'"{"".join(groups)}"', f'"{" ".join(groups)}"'
        if number["separator"] == " ":
            # Or two numbers, one after the other.
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
        # FTS5 sees nothing in a sign of a currency, say.
        if any(map(str.isalnum, word)):
            yield tuple(f'"{way}"' for way in (word, *_relatives(word)))


def _relatives(word: str) -> Iterator[str]:
    """Yield the noun of a verb or the verb of a noun, where cutting endings off does not do it."""
    if verb := _VERB.fullmatch(word):
        yield f"{verb[1]}sion"
    elif noun := _NOUN.fullmatch(word):
        yield f"{noun[1]}d"
