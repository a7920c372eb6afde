"""Detection of the encoding of text that is not UTF-8, which refuses to guess in doubt.

chardet ranks the possible encodings. Its first guess was wrong for 1.7 % of texts of 100 characters
and 1.1 % of texts of 200, so it is accepted only if it leads clearly and gives plausible words: no
guess is then wrong, and 15 % and 13 % of the texts are refused. `benchmarks/encodings.py` measures
it (`--each 5`).
"""

from __future__ import annotations

import codecs
import functools
import re
import unicodedata
from collections import Counter

# Bytes of a text that are examined.
_SAMPLE = 1 << 15

# The encodings of files; of several similar ones, the one with the most characters.
_COMMON = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9"),
    *("iso8859-13", "iso8859-15", "koi8-r", "koi8-u", "cp874"),
    *("cp932", "euc-jp", "gb18030", "big5", "cp949"),
)
_WESTERN = ("cp1252", "iso8859-1", "iso8859-15")
_LEGACY = ("cp437", "cp850", "cp852", "cp866", "mac-roman")
# Relative weight of the encodings of DOS and old Macs.
_LEGACY_WEIGHT = 0.8
# Minimum number of non-ASCII characters as evidence for a legacy or a two-byte encoding.
_MIN_LEGACY, _MIN_WIDE = 4, 2
# Fewer capitals may be small letters of another encoding, and texts all in capitals are rare.
_MIN_CAPITALS, _CAPITALS_WEIGHT = 4, 0.8
# A text has few non-ASCII words if they have fewer bytes than this, and than a tenth of the text.
_FEW_BYTES, _FEW_PARTS = 64, 10

# The minimum confidence of chardet, and its minimum ratio to that of the next text, which is
# larger for fewer non-ASCII characters.
_MIN_CONFIDENCE = 0.02
_MIN_LEAD, _LEAD_OF_ONE_CHARACTER = 1.01, 0.5
# With fewer characters, non-Western Latin encodings must lead more clearly: most short notes that
# are not UTF-8 are Windows-1252, and a wrong accent is easily overlooked.
_LEAD_OF_LATIN, _FEW_LATIN = 2.5, 10
# Maximum share of implausible characters among the non-ASCII ones.
_MAX_IMPLAUSIBLE = 0.1
# Minimum share of letters in the two main scripts of a text in 16 bits.
_MIN_IN_SCRIPT = 0.9
_MODERN_SCRIPTS = {
    *("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "DEVANAGARI"),
    *("BENGALI", "TAMIL", "TELUGU", "THAI", "HANGUL", "CJK"),
}
# Fewer bytes are no evidence.
_MIN_BYTES, _MIN_WIDE_BYTES = 8, 32

CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]")
_PRINTABLE_ASCII = re.compile(rb"[\x20-\x7e]+")
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_LETTERS_IN_A_ROW = re.compile("[\u00aa-\u024f]{4,}")
# Symbols that may stand inside a word.
_WORD_SYMBOLS = "’‘·\u00adªº°´ʹʼ\xa0\u200c\u200d"
_SCRIPTS = (
    *((0x0250, "Latin"), (0x0370, ""), (0x0400, "Greek"), (0x0530, "Cyrillic"), (0x0590, "")),
    *((0x0600, "Hebrew"), (0x0780, "Arabic"), (0x0E00, ""), (0x0E80, "Thai"), (0x1E00, "")),
    *((0x1F00, "Latin"), (0x2000, "Greek")),
)


def guess(data: bytes) -> str | None:
    """Return Python's name of the encoding of text that is not UTF-8; None if it is not clear.

    Args:
        data: the text, or its beginning.

    """
    if data.isascii() and _ISO_2022_JP.search(data[:_SAMPLE]):
        return "iso2022_jp_ext" if can_decode(data, "iso2022_jp_ext") else None
    if CONTROLS.search(data):
        # Single-byte encodings do not use control characters; 16-bit ones soon do.
        return _detect_wide(data)
    if len(data) < _MIN_BYTES or _is_mostly_utf8(data):
        return None
    return _detect_narrow(data)


def can_decode(data: bytes, encoding: str) -> bool:
    """Return whether all of the bytes can be decoded."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_mostly_utf8(data: bytes) -> bool:
    """Return whether the text is UTF-8 with a few invalid bytes, so that no other encoding fits."""
    text = data[: 8 * _SAMPLE].decode("utf-8", "surrogateescape")
    bad = sum(1 for _ in re.finditer("[\udc80-\udcff]", text))
    good = sum(1 for _ in re.finditer("[^\x00-\x7f\udc80-\udcff]", text))
    return 2 * good >= bad


# Encodings of two or four bytes per character


def _detect_wide(data: bytes) -> str | None:
    sample = data[: 4 * _SAMPLE]
    is_sparse = len(CONTROLS.findall(sample)) < len(sample) / 4
    if len(data) < (_MIN_WIDE_BYTES if is_sparse else _MIN_BYTES):
        return None
    if is_sparse and _is_mostly_utf8(sample):
        return None  # A few control characters in other text.
    scores = {}
    for encoding in _WIDE:
        text = _decode_sample(sample, encoding)
        if text is not None and _is_text(text, encoding):
            scores[encoding] = sum(map(_is_familiar, text))
    best = max(scores, key=scores.__getitem__, default=None)
    if best is None or list(scores.values()).count(scores[best]) > 1:
        return None
    return best if can_decode(data, best) else None


def _is_familiar(letter: str) -> bool:
    return letter.isascii() or letter in "、。，．！？：；「」（）《》・ー\u3000"


def _is_text(text: str, encoding: str) -> bool:
    """Return whether all characters exist, and most letters are of one modern script."""
    if any(
        unicodedata.category(letter) in ("Cc", "Cn", "Co") and letter not in "\t\n\f\r"
        for letter in set(text)
    ):
        return False
    scripts = Counter(_script_in_full(letter) for letter in text if letter.isalpha())
    own = sum(count for script, count in scripts.most_common(2) if script in _MODERN_SCRIPTS)
    # Pairs of ASCII characters look like Chinese, and hardly ever like Kana.
    others = [letter for letter in text if not "\u3000" <= letter < "\u3100" and letter > "\x7f"]
    pairs = sum(
        _PRINTABLE_ASCII.fullmatch(letter.encode(encoding)) is not None for letter in others
    )
    return (
        own >= _MIN_IN_SCRIPT * scripts.total()
        and 2 * pairs <= len(others)
        and any(map(_is_familiar, text))
    )


@functools.lru_cache(1 << 14)
def _script_in_full(letter: str) -> str:
    script = unicodedata.name(letter, "?").split()[0]
    is_japanese = script in ("HIRAGANA", "KATAKANA", "FULLWIDTH", "KATAKANA-HIRAGANA")
    return "CJK" if is_japanese else script


# Encodings of one byte per character, or of one or more


def _detect_narrow(data: bytes) -> str | None:
    sample = _select_sample(data)
    encoding = _clear_winner(sample)
    words = _distinct_words(sample)
    # Surrounding English is no evidence for the encoding of a few foreign words.
    few = min(_FEW_BYTES, len(sample) // _FEW_PARTS)
    if len(words) < few and not _decode_equally(_clear_winner(words), encoding, words):
        return None
    return encoding if encoding and can_decode(data, encoding) else None


def _decode_equally(one: str | None, other: str | None, data: bytes) -> bool:
    return bool(one and other) and _decode_sample(data, str(one)) == _decode_sample(
        data, str(other)
    )


def _distinct_words(sample: bytes) -> bytes:
    """Return the distinct words that are not ASCII."""
    words = dict.fromkeys(word for word in sample.split() if not word.isascii())
    return b" ".join(words)


def _clear_winner(sample: bytes) -> str | None:
    """Return the encoding that leads clearly; None if no encoding does."""
    ranked = _rank(sample)
    candidates = [item for item in ranked if _implausible_share(item[2]) <= _MAX_IMPLAUSIBLE]
    if not candidates or candidates[0][0] < max(_MIN_CONFIDENCE, ranked[0][0] / 2):
        return None
    confidence, encoding, text = candidates[0]
    # A repeated word is no further evidence.
    evidence = sum(letter > "\x7f" for word in set(text.split()) for letter in word)
    is_wide = len(text) < len(sample)
    if evidence < (_MIN_LEGACY if _is_legacy(encoding) else _MIN_WIDE if is_wide else 1):
        return None
    is_doubtful = evidence < _FEW_LATIN and _is_rare_latin(encoding, text)
    lead = _LEAD_OF_LATIN if is_doubtful else _LEAD_OF_ONE_CHARACTER
    if len(candidates) > 1 and confidence < (_MIN_LEAD + lead / evidence) * candidates[1][0]:
        return None
    return encoding


def _is_rare_latin(encoding: str, text: str) -> bool:
    return encoding not in _WESTERN and all(
        letter < "\u0250" for letter in text if letter.isalpha()
    )


def _select_sample(data: bytes) -> bytes:
    """Return the non-ASCII lines of a long text."""
    if len(data) <= _SAMPLE:
        return data
    lines = (line for line in data.split(b"\n") if not line.isascii())
    sample = bytearray()
    for line in lines:
        sample += line + b"\n"
        if len(sample) >= _SAMPLE:
            break
    return bytes(sample[:_SAMPLE])


def _rank(sample: bytes) -> list[tuple[float, str, str]]:
    """Return the confidence, encoding and text of each distinct text, best first."""
    import chardet

    texts: dict[str, tuple[float, str]] = {}
    for answer in chardet.detect_all(
        sample, ignore_threshold=True, include_encodings=_COMMON + _LEGACY, compat_names=False
    ):
        encoding, confidence = answer["encoding"], answer["confidence"]
        text = _decode_sample(sample, encoding) if encoding else None
        if encoding is None or text is None:
            continue
        confidence = max(confidence, _confidence_of_capitals(text, encoding))
        if _is_legacy(encoding):
            confidence *= _LEGACY_WEIGHT
        # If several encodings give the same text, the most common one is named.
        best, name = texts.get(text, (0.0, encoding))
        texts[text] = (max(best, confidence), min(name, encoding, key=_rarity))
    return sorted(((*known, text) for text, known in texts.items()), reverse=True)


def _confidence_of_capitals(text: str, encoding: str) -> float:
    """Rate a text in capitals by its lower-case form: chardet knows words in small letters."""
    import chardet

    letters = "".join(letter for letter in text if letter > "\x7f" and letter.isalpha())
    if len(letters) < _MIN_CAPITALS or not letters.isupper():
        return 0.0
    answers = chardet.detect_all(
        text.lower().encode(encoding, "replace"),
        ignore_threshold=True,
        include_encodings=(encoding, "cp1252"),  # chardet warns without cp1252
        compat_names=False,
    )
    own = (answer["confidence"] for answer in answers if answer["encoding"] == encoding)
    return _CAPITALS_WEIGHT * max(own, default=0.0)


def _is_legacy(encoding: str) -> bool:
    return encoding.replace("_", "-") in _LEGACY


def _rarity(encoding: str) -> tuple[bool, bool]:
    return encoding != "cp1252", not encoding.startswith("cp125")


def _decode_sample(sample: bytes, encoding: str) -> str | None:
    """Decode bytes that may end within a character; None if they are invalid."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except (UnicodeDecodeError, LookupError):
        return None


def _implausible_share(text: str) -> float:
    """Return the share of implausible characters among the non-ASCII ones."""
    odd = others = 0
    before = " "
    for letter, after in zip(text, text[1:] + " ", strict=True):
        if letter > "\x7f":
            others += 1
            odd += _is_implausible(before, letter, after)
        before = letter
    odd += sum(len(run) for run in _LETTERS_IN_A_ROW.findall(text) if run.isalpha())
    return odd / max(others, 1)


def _is_implausible(before: str, letter: str, after: str) -> int:
    category = "Sk" if "\u02b0" <= letter < "\u0300" else unicodedata.category(letter)
    if category in ("Cc", "Cn", "Co"):
        return 3
    if category[0] == "L":
        own = _script(letter)
        if not own:
            # In another encoding, its second byte is an ASCII letter.
            return int((before + after).isascii() and (before + after).isalpha())
        foreign = [_script(other) not in (own, "") for other in before + after if other.isalpha()]
        is_late_capital = category == "Lu" and before.islower()
        return int(any(foreign) or is_late_capital)
    if letter in "„‚" or category in ("Sk", "Sm") or "\u2500" <= letter < "\u2600":
        return int(before.isalpha() or (letter not in "„‚" and after.isalpha()))
    is_within = before.isalpha() and after.isalpha() and _script(before) and _script(after)
    return int(category[0] in "SNP" and letter not in _WORD_SYMBOLS and bool(is_within))


def _script(letter: str) -> str:
    code = ord(letter)
    return next((script for end, script in _SCRIPTS if code < end), "")
