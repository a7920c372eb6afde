"""Which encoding text is in that is not UTF-8: told with confidence, or not at all.

chardet ranks the encodings that fit. Its first guess was wrong for 1.7 % of texts of 100 characters
and 1.1 % of texts of 200, so it is taken only where it leads clearly and gives letters that belong
together: none are then wrong, and 15 % and 13 % are refused (`--each 5`). `benchmarks/encodings.py`
measures it.
"""

from __future__ import annotations

import codecs
import functools
import re
import unicodedata
from collections import Counter

# How much of a text is looked at.
_SAMPLE = 1 << 15

# Those that files are in, and of each kind the one that holds most.
_COMMON = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9"),
    *("iso8859-13", "iso8859-15", "koi8-r", "koi8-u", "cp874"),
    *("cp932", "euc-jp", "gb18030", "big5", "cp949"),
)
_WESTERN = ("cp1252", "iso8859-1", "iso8859-15")
_OLD = ("cp437", "cp850", "cp852", "cp866", "mac-roman")
# How much less likely a file of DOS or of an old Mac is than one of the others.
_WEIGHT_OF_OLD = 0.8
# Fewer characters that are not ASCII may be anything, in one of these and where each has two bytes.
_LEAST_OF_OLD, _LEAST_OF_WIDE = 4, 2
# Fewer capitals may be small letters of another encoding, and a text of more is still rare.
_LEAST_CAPITALS, _WEIGHT_OF_CAPITALS = 4, 0.8
# Words outside ASCII are few if they have fewer bytes than this, and than a tenth of the text.
_FEW_BYTES, _FEW_PARTS = 64, 10

# The least confidence of chardet's, and by how much it must exceed that of the next text: the
# fewer characters tell them apart, the more.
_LEAST = 0.02
_LEAD, _LEAD_OF_ONE = 1.01, 0.5
# Below so many characters, other Latin letters than the Western ones must lead more clearly: most
# short notes that are not UTF-8 are Windows-1252, and a wrong accent is easily overlooked.
_LEAD_OF_LATIN, _LITTLE_LATIN = 2.5, 10
# How large a part of the characters that are not ASCII may be where they do not belong.
_ODD = 0.1
# How large a part of a text in 16 bits is in its own script.
_OWN_SCRIPT = 0.9
_IN_USE = {
    *("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "DEVANAGARI"),
    *("BENGALI", "TAMIL", "TELUGU", "THAI", "HANGUL", "CJK"),
}
# Fewer bytes tell nothing.
_SHORTEST, _SHORTEST_WIDE = 8, 32

CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_JAPANESE_MAIL = re.compile(rb"\x1b\$[@B]")
_PRINTED = re.compile(rb"[\x20-\x7e]+")
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_LETTERS_IN_A_ROW = re.compile("[\u00aa-\u024f]{4,}")
# Symbols that may stand inside a word.
_INSIDE = "’‘·\u00adªº°´ʹʼ\xa0\u200c\u200d"
_SCRIPTS = (
    *((0x0250, "Latin"), (0x0370, ""), (0x0400, "Greek"), (0x0530, "Cyrillic"), (0x0590, "")),
    *((0x0600, "Hebrew"), (0x0780, "Arabic"), (0x0E00, ""), (0x0E80, "Thai"), (0x1E00, "")),
    *((0x1F00, "Latin"), (0x2000, "Greek")),
)


def guess(data: bytes) -> str | None:
    """Tell the encoding of text that is not UTF-8, as Python calls it; None where it is not clear.

    Args:
        data: all of the text, or its beginning.

    """
    if data.isascii() and _JAPANESE_MAIL.search(data[:_SAMPLE]):
        return "iso2022_jp_ext" if fits(data, "iso2022_jp_ext") else None
    if CONTROLS.search(data):
        # Eight bits for a character need no such bytes, and more need them soon.
        return _wide(data)
    if len(data) < _SHORTEST or _is_mostly_utf8(data):
        return None
    return _narrow(data)


def fits(data: bytes, encoding: str) -> bool:
    """Whether all of the bytes can be decoded."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether a few bytes are wrong in what is UTF-8, so that any other encoding would be worse."""
    text = data[: 8 * _SAMPLE].decode("utf-8", "surrogateescape")
    bad = sum(1 for _ in re.finditer("[\udc80-\udcff]", text))
    good = sum(1 for _ in re.finditer("[^\x00-\x7f\udc80-\udcff]", text))
    return 2 * good >= bad


# Two or four bytes for a character


def _wide(data: bytes) -> str | None:
    sample = data[: 4 * _SAMPLE]
    is_sparse = len(CONTROLS.findall(sample)) < len(sample) / 4
    if len(data) < (_SHORTEST_WIDE if is_sparse else _SHORTEST):
        return None
    if is_sparse and _is_mostly_utf8(sample):
        return None  # A few control characters in other text.
    familiar = {}
    for encoding in _WIDE:
        text = _decoded(sample, encoding)
        if text is not None and _is_text(text, encoding):
            familiar[encoding] = sum(map(_is_familiar, text))
    best = max(familiar, key=familiar.__getitem__, default=None)
    if best is None or list(familiar.values()).count(familiar[best]) > 1:
        return None
    return best if fits(data, best) else None


def _is_familiar(letter: str) -> bool:
    return letter.isascii() or letter in "、。，．！？：；「」（）《》・ー\u3000"


def _is_text(text: str, encoding: str) -> bool:
    """Whether all characters exist, and most letters are of one script that is in use."""
    if any(
        unicodedata.category(letter) in ("Cc", "Cn", "Co") and letter not in "\t\n\f\r"
        for letter in set(text)
    ):
        return False
    scripts = Counter(_script_in_full(letter) for letter in text if letter.isalpha())
    own = sum(count for script, count in scripts.most_common(2) if script in _IN_USE)
    # What is ASCII in pairs looks like Chinese, and hardly ever like Kana.
    others = [letter for letter in text if not "\u3000" <= letter < "\u3100" and letter > "\x7f"]
    pairs = sum(_PRINTED.fullmatch(letter.encode(encoding)) is not None for letter in others)
    return (
        own >= _OWN_SCRIPT * scripts.total()
        and 2 * pairs <= len(others)
        and any(map(_is_familiar, text))
    )


@functools.lru_cache(1 << 14)
def _script_in_full(letter: str) -> str:
    script = unicodedata.name(letter, "?").split()[0]
    is_japanese = script in ("HIRAGANA", "KATAKANA", "FULLWIDTH", "KATAKANA-HIRAGANA")
    return "CJK" if is_japanese else script


# One byte for a character, or one and more


def _narrow(data: bytes) -> str | None:
    sample = _sample(data)
    encoding = _clearest(sample)
    words = _telling(sample)
    # English around a few words of another language says nothing about them.
    few = min(_FEW_BYTES, len(sample) // _FEW_PARTS)
    if len(words) < few and not _agrees(_clearest(words), encoding, words):
        return None
    return encoding if encoding and fits(data, encoding) else None


def _agrees(one: str | None, other: str | None, data: bytes) -> bool:
    return bool(one and other) and _decoded(data, str(one)) == _decoded(data, str(other))


def _telling(sample: bytes) -> bytes:
    """Return the words that are not ASCII, each once."""
    words = dict.fromkeys(word for word in sample.split() if not word.isascii())
    return b" ".join(words)


def _clearest(sample: bytes) -> str | None:
    """Return the encoding that leads clearly, if one does."""
    ranked = _ranked(sample)
    found = [item for item in ranked if _oddness(item[2]) <= _ODD]
    if not found or found[0][0] < max(_LEAST, ranked[0][0] / 2):
        return None
    confidence, encoding, text = found[0]
    # What is repeated tells no more than what stands once.
    evidence = sum(letter > "\x7f" for word in set(text.split()) for letter in word)
    is_wide = len(text) < len(sample)
    if evidence < (_LEAST_OF_OLD if _is_old(encoding) else _LEAST_OF_WIDE if is_wide else 1):
        return None
    is_doubtful = evidence < _LITTLE_LATIN and _is_rare_latin(encoding, text)
    lead = _LEAD_OF_LATIN if is_doubtful else _LEAD_OF_ONE
    if len(found) > 1 and confidence < (_LEAD + lead / evidence) * found[1][0]:
        return None
    return encoding


def _is_rare_latin(encoding: str, text: str) -> bool:
    return encoding not in _WESTERN and all(
        letter < "\u0250" for letter in text if letter.isalpha()
    )


def _sample(data: bytes) -> bytes:
    """Return the lines that tell most of a long text."""
    if len(data) <= _SAMPLE:
        return data
    lines = (line for line in data.split(b"\n") if not line.isascii())
    sample = bytearray()
    for line in lines:
        sample += line + b"\n"
        if len(sample) >= _SAMPLE:
            break
    return bytes(sample[:_SAMPLE])


def _ranked(sample: bytes) -> list[tuple[float, str, str]]:
    """Return confidences, encodings and texts, best first; each text once."""
    import chardet

    texts: dict[str, tuple[float, str]] = {}
    for answer in chardet.detect_all(
        sample, ignore_threshold=True, include_encodings=_COMMON + _OLD, compat_names=False
    ):
        encoding, confidence = answer["encoding"], answer["confidence"]
        text = _decoded(sample, encoding) if encoding else None
        if encoding is None or text is None:
            continue
        confidence = max(confidence, _confidence_of_capitals(text, encoding))
        if _is_old(encoding):
            confidence *= _WEIGHT_OF_OLD
        # Of several that give the same text, it goes by the name of the one in most use.
        best, name = texts.get(text, (0.0, encoding))
        texts[text] = (max(best, confidence), min(name, encoding, key=_rarity))
    return sorted(((*known, text) for text, known in texts.items()), reverse=True)


def _confidence_of_capitals(text: str, encoding: str) -> float:
    """Rate a text in capitals as if it were not: chardet knows words in small letters."""
    import chardet

    letters = "".join(letter for letter in text if letter > "\x7f" and letter.isalpha())
    if len(letters) < _LEAST_CAPITALS or not letters.isupper():
        return 0.0
    answers = chardet.detect_all(
        text.lower().encode(encoding, "replace"),
        ignore_threshold=True,
        include_encodings=(encoding, "cp1252"),  # chardet warns where this one is missing
        compat_names=False,
    )
    own = (answer["confidence"] for answer in answers if answer["encoding"] == encoding)
    return _WEIGHT_OF_CAPITALS * max(own, default=0.0)


def _is_old(encoding: str) -> bool:
    return encoding.replace("_", "-") in _OLD


def _rarity(encoding: str) -> tuple[bool, bool]:
    return encoding != "cp1252", not encoding.startswith("cp125")


def _decoded(sample: bytes, encoding: str) -> str | None:
    """Decode what may end within a character; None where it does not fit."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except (UnicodeDecodeError, LookupError):
        return None


def _oddness(text: str) -> float:
    """Tell how large a part of the characters that are not ASCII do not belong where they are."""
    odd = others = 0
    before = " "
    for letter, after in zip(text, text[1:] + " ", strict=True):
        if letter > "\x7f":
            others += 1
            odd += _is_odd(before, letter, after)
        before = letter
    odd += sum(len(run) for run in _LETTERS_IN_A_ROW.findall(text) if run.isalpha())
    return odd / max(others, 1)


def _is_odd(before: str, letter: str, after: str) -> int:
    category = "Sk" if "\u02b0" <= letter < "\u0300" else unicodedata.category(letter)
    if category in ("Cc", "Cn", "Co"):
        return 3
    if category[0] == "L":
        own = _script(letter)
        if not own:
            # Half of such a letter in another encoding is one of ASCII.
            return int((before + after).isascii() and (before + after).isalpha())
        strangers = [_script(other) not in (own, "") for other in before + after if other.isalpha()]
        is_late_capital = category == "Lu" and before.islower()
        return int(any(strangers) or is_late_capital)
    if letter in "„‚" or category in ("Sk", "Sm") or "\u2500" <= letter < "\u2600":
        return int(before.isalpha() or (letter not in "„‚" and after.isalpha()))
    is_within = before.isalpha() and after.isalpha() and _script(before) and _script(after)
    return int(category[0] in "SNP" and letter not in _INSIDE and bool(is_within))


def _script(letter: str) -> str:
    code = ord(letter)
    return next((script for end, script in _SCRIPTS if code < end), "")
