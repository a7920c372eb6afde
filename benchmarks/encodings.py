"""The accuracy of encoding detection: right, wrong and refused guesses.

python benchmarks/encodings.py
python benchmarks/encodings.py --texts /usr/share/locale --each 20

Translated messages of the programs of this machine (`/usr/share/locale/*/LC_MESSAGES/*.mo`), joined
to texts of several lengths, are written in the encodings of their languages and read again. jlocal
is compared with chardet's first guess. `old` are encodings of DOS and of the old Macintosh, `wide`
is UTF-16 without a byte order mark. A guess is wrong if it gives any other text.
"""

from __future__ import annotations

import argparse
import gettext
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import chardet  # noqa: E402

from jlocal.inputs.detection import guess  # noqa: E402

_WESTERN = ("cp1252", "latin-1", "iso8859-15", "cp850", "mac-roman")
_CENTRAL = ("cp1250", "iso8859-2", "cp852")
_CYRILLIC = ("cp1251", "koi8-r", "iso8859-5", "cp866")
_BALTIC = ("cp1257", "iso8859-13")
ENCODINGS = {
    **dict.fromkeys(("de", "fr", "es", "it", "nl", "sv", "da", "nb", "fi"), _WESTERN),
    **dict.fromkeys(("pl", "cs", "hu", "sk", "sl", "hr"), _CENTRAL),
    **dict.fromkeys(("ru", "bg"), _CYRILLIC),
    **dict.fromkeys(("lt", "lv"), _BALTIC),
    "uk": ("cp1251", "koi8-u"),
    "el": ("cp1253", "iso8859-7"),
    "tr": ("cp1254", "iso8859-9"),
    "he": ("cp1255", "iso8859-8"),
    "ar": ("cp1256", "iso8859-6"),
    "th": ("cp874",),
    "ja": ("cp932", "euc-jp"),
    "zh_CN": ("gb18030",),
    "zh_TW": ("big5",),
    "ko": ("cp949",),
}
_OLD = {"cp850", "mac-roman", "cp852", "cp866"}
_WIDE = ("utf-16-le", "utf-16-be")
_SIZES = (40, 100, 200, 2000)


def messages(folder: Path) -> list[str]:
    """Read the longer messages of a language."""
    found = set()
    for file in sorted(folder.glob("LC_MESSAGES/*.mo")):
        try:
            with file.open("rb") as opened:
                catalogue = vars(gettext.GNUTranslations(opened))["_catalog"]
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        found.update(
            " ".join(text.split())
            for text in catalogue.values()
            if isinstance(text, str) and len(text) > 40 and not text.isascii()
        )
    return sorted(found)


def samples(folder: Path, each: int, rng: random.Random) -> Iterator[tuple[int, str, str, bytes]]:
    """Yield samples: their length in characters, encoding, text and bytes."""
    for language, encodings in ENCODINGS.items():
        known = messages(folder / language)
        for size in _SIZES if known else ():
            for _ in range(each):
                text = " ".join(rng.choices(known, k=size // 40 + 1))[:size].strip()
                for encoding in (*encodings, *_WIDE):
                    # Drop characters that the encoding lacks.
                    kept = text.encode(encoding, "ignore").decode(encoding)
                    if not kept.isascii():
                        yield size, encoding, kept, kept.encode(encoding)


def by_chardet(data: bytes) -> str | None:
    """Return chardet's first guess."""
    encoding: str | None = chardet.detect(data)["encoding"]
    return encoding


def verdict(tell: Callable[[bytes], str | None], data: bytes, text: str) -> str:
    """Tell whether a detector is right or wrong, or refuses to guess."""
    encoding = tell(data)
    try:
        return "refused" if encoding is None else ["wrong", "right"][data.decode(encoding) == text]
    except (UnicodeDecodeError, LookupError):
        return "refused"


def main() -> None:
    """Print a line for each kind of encoding, length and detector."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, default=Path("/usr/share/locale"))
    parser.add_argument("--each", type=int, default=20, help="texts of each language and length")
    options = parser.parse_args()
    counts = Counter[tuple[str, int, str, str]]()
    for size, encoding, text, data in samples(options.texts, options.each, random.Random(0)):
        kind = "old" if encoding in _OLD else "wide" if encoding in _WIDE else "others"
        for name, tell in (("jlocal", guess), ("chardet", by_chardet)):
            counts[kind, size, name, verdict(tell, data, text)] += 1
    if not counts:
        sys.exit(f"no catalogues of messages below {options.texts}")
    for kind, size, name in sorted({key[:3] for key in counts}):
        parts = [counts[kind, size, name, said] for said in ("right", "wrong", "refused")]
        shares = "  ".join(f"{100 * part / sum(parts):6.2f} %" for part in parts)
        print(f"{kind:6}  {size:5,} characters  {name:7}  right, wrong, refused: {shares}")


if __name__ == "__main__":
    main()
