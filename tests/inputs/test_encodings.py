"""Text that is not UTF-8: read right, or refused."""

from __future__ import annotations

import io
import os
import random
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from jlocal import Collection, Embedder
from jlocal.errors import ArgumentError, TextError
from jlocal.inputs.detection import guess
from jlocal.inputs.documents import Document, Unreadable, read_file
from jlocal.inputs.encodings import Decoded, decode, display_name, python_name
from support.texts import AWKWARD

DATA = Path(__file__).parents[1] / "data"

TEXTS = {
    "German": "Die Brücke über den Fluß wird im Frühjahr geöffnet. Größere Schiffe müssen warten.",
    "French": "La bibliothèque a été fermée à cause de l’incendie ; les élèves étudient au café.",
    "Spanish": "El niño pequeño llegó mañana por la tarde. ¿Qué pasó con el árbol del jardín?",
    "Swedish": "Färjan går från ön varje timme, och på kvällen är det kö för att åka över sundet.",
    "Polish": "Książka leży na stole. Wczoraj widziałem piękną łódź, która płynęła w stronę wyspy.",
    "Czech": "Příliš mnoho lidí čekalo na nádraží. Vlak přijel později, než říkal jízdní řád.",
    "Russian": "Паром отходит от острова каждый час, а вечером приходится долго стоять в очереди.",
    "Greek": "Το πλοίο φεύγει κάθε ώρα από το νησί και το βράδυ υπάρχει μεγάλη ουρά στο λιμάνι.",
    "Turkish": "Gemi her saat adadan kalkıyor, akşamları ise iskelede uzun bir kuyruk oluşuyor.",
    "Hebrew": "המעבורת יוצאת מהאי בכל שעה, ובערב יש תור ארוך בנמל לפני העלייה לסיפון.",
    "Arabic": "تغادر العبارة الجزيرة كل ساعة، وفي المساء يقف الناس في طابور طويل في الميناء.",
    "Japanese": "船は毎時間、島から出ています。夕方には港で長い列ができるので、お早めにどうぞ。",
    "Chinese": "渡轮每小时从岛上出发，晚上码头上会排起长队，所以请大家早一点来，不要忘记带票。",
    "Taiwanese": "渡輪每小時從島上出發，晚上碼頭會排起長長的隊伍，請大家提早前來，不要忘記帶票。",
    "Korean": "배는 매시간 섬에서 떠나며, 저녁에는 항구에 긴 줄이 생기므로 일찍 오시기 바랍니다.",
}
ENCODINGS = {
    "German": ("cp1252", "iso8859-15"),
    "French": ("cp1252",),
    "Spanish": ("cp1252", "latin-1"),
    "Swedish": ("cp1252",),
    "Polish": ("cp1250",),
    "Czech": ("cp1250",),
    "Russian": ("cp1251", "koi8-r", "iso8859-5", "cp866"),
    "Greek": ("cp1253", "iso8859-7"),
    "Turkish": ("cp1254",),
    "Hebrew": ("cp1255", "iso8859-8"),
    "Arabic": ("cp1256", "iso8859-6"),
    "Japanese": ("cp932", "euc-jp", "iso2022_jp"),
    "Chinese": ("gb18030", "gbk"),
    "Taiwanese": ("big5",),
    "Korean": ("cp949", "euc-kr"),
}
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
CASES = [(language, name) for language in TEXTS for name in (*ENCODINGS[language], *WIDE)]


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_a_text_is_read_in_its_encoding(language: str, encoding: str) -> None:
    text = TEXTS[language]
    decoded = decode(text.encode(encoding))
    assert decoded.text == text
    assert decoded.encoding
    assert decode(text.encode(encoding), encoding).text == text


@pytest.mark.slow
def test_a_short_text_is_read_right_or_refused() -> None:
    wrong, count = [], 0
    for language, encoding in CASES:
        for start in (0, 20):
            for size in range(1, 30):
                some = TEXTS[language][start : start + size]
                data = some.encode(encoding)
                try:
                    decoded = decode(data)
                except TextError:
                    continue
                count += 1
                if decoded.text != some and not data.isascii():
                    wrong.append((some, encoding, decoded))
    # Some words of three letters are valid UTF-8 by chance, for example.
    assert len(wrong) < count / 200, wrong


ENGLISH = "The quick brown fox jumps over the lazy dog. " * 20
CAPITALS = ("ПРИВЕТ, МИР", "КУПИТЬ МОЛОКО И ХЛЕБ. ПОЗВОНИТЬ МАМЕ ВЕЧЕРОМ.", "ВСТРЕЧА В ПЯТНИЦУ")
WORDS = {
    "Встреча": ("cp1251", "koi8-r", "cp866", "iso8859-5"),
    "買い物": ("cp932", "euc-jp"),
    "東京": ("cp932", "euc-jp"),
    "우유와": ("cp949",),
    "Příliš": ("cp1250",),
    "مرحبا": ("cp1256",),
}


def read_or_refused(text: str, encoding: str) -> bool:
    """Whether a text is read; it may not be read as another."""
    try:
        decoded = decode(text.encode(encoding)).text
    except TextError:
        return False
    assert decoded == text, encoding
    return True


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "iso8859-5"])
def test_capitals_are_not_read_as_the_small_letters_of_another_encoding(encoding: str) -> None:
    read = [read_or_refused(text, encoding) for text in (*CAPITALS, " ".join(CAPITALS))]
    assert read[-1]


def test_english_around_a_word_of_another_language_does_not_decide_its_encoding() -> None:
    for word, encodings in WORDS.items():
        for encoding in encodings:
            read_or_refused(f"{ENGLISH}{word}", encoding)
    assert read_or_refused(f"{ENGLISH}{TEXTS['Russian']}", "koi8-r")


@pytest.mark.parametrize("text", ["25 °C", "25 °C 25 °C", "25 °C. " * 5, "£5 FOR TEA", "\xa0" * 20])
def test_what_is_repeated_tells_no_more_than_once(text: str) -> None:
    assert not read_or_refused(text, "cp1252")


def test_labels_are_those_that_people_know() -> None:
    names = ("cp1252", "iso8859-1", "koi8-r", "cp932", "cp949", "gb18030", "utf-16-le", "big5hkscs")
    assert [display_name(name) for name in names] == [
        *("Windows-1252", "ISO-8859-1", "KOI8-R", "Shift_JIS", "EUC-KR", "GB18030"),
        *("UTF-16-LE", "Big5"),
    ]


def test_what_browsers_and_editors_show(tmp_path: Path) -> None:
    document = read_file(DATA / "cp1252.txt")
    assert isinstance(document, Document)
    assert document.text == "Das Café hat “neue” Öffnungszeiten – ab 6 €"
    assert document.encoding == "Windows-1252"
    # One byte among ASCII tells nothing.
    item = read_file(DATA / "utf8_one_bad.txt")
    assert isinstance(item, Unreadable)
    assert (
        item.reason
        == "not UTF-8 text: 0xE9 in line 1; name its encoding with encoding=, such as cp1252"
    )
    settled = read_file(DATA / "utf8_one_bad.txt", "cp1252")
    assert isinstance(settled, Document)
    assert "here: é and" in settled.text


def png() -> bytes:
    rows = os.urandom(64 * 64)
    chunk = b"IDAT" + zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0@\0\0\0@\x08\0\0\0\0" + chunk


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        for name, text in TEXTS.items():
            written.writestr(f"{name}.txt", text * 10)
    return file.getvalue()


NOT_TEXT = {
    "PNG": png(),
    "the beginning of a PNG": png()[:40],
    "zip": archive(),
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xdb\0C\0" + bytes(range(64)),
    "gzip": b"\x1f\x8b\x08" + zlib.compress(b"x" * 1000),
    "zeros": bytes(4096),
    "small integers": b"".join(n.to_bytes(4, "little") for n in range(500)),
    "small short integers": b"".join(n.to_bytes(2, "big") for n in range(1, 50)),
    "floats": b"\0\0\x80?\xcd\xcc\x4c>" * 50,
    "names between NULs": b"notes/a.md\0notes/b.md\0notes/some-longer-name.md\0" * 9,
    "UTF-8 with NUL": ("Grüße\0" + TEXTS["German"]).encode(),
    "Russian UTF-8 with NUL": (TEXTS["Russian"] + "\0").encode(),
    "ASCII with NUL": b"before\0after \0\0 end\0",
    "a NUL": b"a\0b",
    "Windows-1252 with NUL": (TEXTS["German"] + "\0").encode("cp1252"),
    "odd UTF-16": TEXTS["German"].encode("utf-16-le")[:-1],
    "lone surrogate": TEXTS["German"].encode("utf-16-le") + b"\0\xd8",
}


@pytest.mark.parametrize("name", NOT_TEXT)
def test_what_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(TextError, match=r"not .*text"):
        decode(NOT_TEXT[name])


@pytest.mark.parametrize("size", [1, 2, 4, 16, 33, 64, 500, 5000])
def test_random_bytes_are_refused(size: int) -> None:
    rng = random.Random(size)
    read = []
    for _ in range(100):
        data = rng.randbytes(size)
        try:
            data.decode()
        except UnicodeDecodeError:
            read += [data] if guess(data) else []
    assert not read


@pytest.mark.parametrize("language", TEXTS)
def test_damaged_utf8_is_in_no_other_encoding(language: str) -> None:
    """The rest of it would become other characters without notice."""
    rng = random.Random(language)
    data = TEXTS[language].encode()
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 2))):
            damaged[rng.randrange(len(data))] = rng.randrange(0x80, 0x100)
        try:
            decoded = decode(bytes(damaged))
        except TextError:
            continue
        assert not decoded.encoding, decoded


def test_awkward_texts_are_never_taken_for_others() -> None:
    for text in AWKWARD.values():
        if "\0" not in text:
            assert decode(text.encode()) == Decoded(text.removeprefix("\ufeff"))


def test_an_encoding_that_is_named_settles_it() -> None:
    assert decode("é".encode("cp850"), "cp850").text == "é"
    with pytest.raises(TextError, match="not EUC-JP text"):
        decode(b"\xff\xff", "euc-jp")
    with pytest.raises(TextError, match="not UTF-8 text"):
        decode(TEXTS["German"].encode("cp1252"), "utf-8")
    # What is UTF-8 beyond doubt, or has a mark, is in no other.
    assert decode("é".encode(), "cp1252") == Decoded("é")
    assert decode("é".encode("utf-8-sig"), "cp1252") == Decoded("é")
    assert decode("é".encode("utf-16"), "cp1252") == Decoded("é")
    assert decode(b"plain", "cp1252") == Decoded("plain")
    assert decode("plain".encode("utf-16-le"), "utf-16-le").text == "plain"
    # A terminal's escapes are no Japanese.
    assert decode(b"\x1b[31mred\x1b(B\x1b[m") == Decoded("\x1b[31mred\x1b(B\x1b[m")


@pytest.mark.parametrize(
    "name", ["", "x", "rot13", "hex", "zlib", "base64", "idna", "punycode", "unicode_escape",
             "raw-unicode-escape", "undefined", "\0", "é", "a" * 10_000]
)  # fmt: skip
def test_names_that_are_no_encodings(name: str) -> None:
    with pytest.raises(ArgumentError, match="there is no encoding"):
        python_name(name)


def test_names_of_encodings() -> None:
    names = ("Windows-1252", "latin1", "Shift_JIS", "UTF8", "UTF-16LE")
    said = ["cp1252", "iso8859-1", "shift_jis", "utf-8", "utf-16-le"]
    assert [python_name(name) for name in names] == said


@pytest.mark.slow
def test_large_files_take_little_longer() -> None:
    start = time.monotonic()
    text = (TEXTS["German"] + "\n") * 100_000
    assert guess(text.encode("cp1252")) == "cp1252"
    assert guess(text.encode("utf-16-be")) == "utf-16-be"
    assert guess(random.Random(1).randbytes(16 << 20)) is None
    assert guess(b"x" * (16 << 20) + b"\xe9") is None
    assert time.monotonic() - start < 60


@pytest.mark.slow
def test_files_are_counted_by_encoding(tmp_path: Path, model: Embedder) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for language in ("German", "Spanish", "Russian"):
        for name in ENCODINGS[language][:2]:
            (folder / f"{language}-{name}.txt").write_bytes(TEXTS[language].encode(name))
    (folder / "utf-8.txt").write_text(TEXTS["Greek"], encoding="utf-8")
    (folder / "short.txt").write_bytes("Übermut".encode("mac-roman"))
    expected = {"Windows-1252": 4, "Windows-1251": 1, "KOI8-R": 1}
    with Collection(tmp_path / "c.db", model) as collection:
        report = collection.index(folder)
        assert report.encodings == expected
        assert [Path(failure.id).name for failure in report.failures] == ["short.txt"]
        with pytest.raises(ArgumentError, match="there is no encoding 'x'"):
            collection.index(folder, encoding="x")
        time.sleep(2.1)  # for their times to be trusted
        collection.index(folder)
        settled = collection.index(folder, encoding="mac-roman")
        assert (settled.failed, settled.new) == (0, 1)
        # It stays settled without being named again.
        again = collection.index(folder)
        assert (again.unchanged, again.changed, again.failed) == (8, 0, 0)


@pytest.mark.parametrize("text", ["Málaga Está En España.", "élève élève", "Piñata, señor"])
def test_a_short_western_note_is_not_read_with_other_accents(text: str) -> None:
    assert guess(text.encode("cp1252")) in ("cp1252", None)


def test_a_short_note_is_not_read_with_turkish_letters() -> None:
    assert guess("Dobrý den, děkuji".encode("cp1250")) in ("cp1250", None)
