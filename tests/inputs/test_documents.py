"""Reading and decoding files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal.errors import TextError
from jlocal.inputs.documents import Document, Unreadable, read_file
from jlocal.inputs.encodings import decode

DECODED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ""),
    "white space": (b" \t\r\n", " \t\r\n"),
    "UTF-8": ("Größe 日本 🙂".encode(), "Größe 日本 🙂"),
    "UTF-8 with mark": (b"\xef\xbb\xbfx", "x"),
    "decomposed": ("e\u0301".encode(), "e\u0301"),
    "UTF-16 LE with mark": (b"\xff\xfe" + "día".encode("utf-16-le"), "día"),
    "UTF-16 BE with mark": (b"\xfe\xff" + "día".encode("utf-16-be"), "día"),
    "UTF-32 LE with mark": (b"\xff\xfe\0\0" + "día".encode("utf-32-le"), "día"),
    "UTF-32 BE with mark": (b"\0\0\xfe\xff" + "día".encode("utf-32-be"), "día"),
    "control tokens": (b"<|endoftext|>", "<|endoftext|>"),
    "100,000 characters": (b"a" * 100_000, "a" * 100_000),
}

NOT_TEXT: dict[str, bytes] = {
    "latin-1": "Größe".encode("latin-1"),
    "cut UTF-8": "Größe".encode()[:3],
    "encoded surrogate": b"\xed\xa0\x80",
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0",
    "odd UTF-16": b"\xff\xfea",
    "lone surrogate in UTF-16": b"\xff\xfe\x00\xd8",
    "NUL": b"a\0b",
}


@pytest.mark.parametrize("name", DECODED)
def test_decode(name: str) -> None:
    data, text = DECODED[name]
    assert decode(data).text == text
    assert not decode(data).encoding


@pytest.mark.parametrize("name", NOT_TEXT)
def test_not_text(name: str) -> None:
    with pytest.raises(TextError, match="not"):
        decode(NOT_TEXT[name])


def test_final_line_breaks_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\nhello \r\n\n")
    assert read_file(tmp_path / "a") == Document(str(tmp_path / "a"), "\nhello ")


def test_the_bytes_of_a_picture_are_no_text(tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    payload = "iVBORw0KGgo+/" * 10_000 + "=="
    note.write_text(f"Before ![a](data:image/png;base64,{payload}) after\n\ndata:,hello", "utf-8")
    document = read_file(note)
    assert isinstance(document, Document)
    assert document.text == "Before ![a](data:image/png;base64,…) after\n\ndata:,hello"
    read = read_file(note, in_records=True)
    assert isinstance(read, Document)
    assert payload in read.text


def test_hostile_data_uris_take_no_time(tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    text = "data:" * 200_000 + "data:a/b" + ";a=b" * 200_000 + ";base64"
    note.write_text(text)
    document = read_file(note)
    assert isinstance(document, Document)
    assert document.text == text


def test_what_is_no_regular_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    item = read_file(tmp_path / "fifo")
    assert isinstance(item, Unreadable)
    assert "regular" in item.reason
    assert isinstance(read_file(tmp_path / "missing"), Unreadable)


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root reads every file, so for the test it is nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_unreadable_file_is_reported(tmp_path: Path, nobody: None) -> None:
    item = read_file(Path("/etc/shadow"))
    assert item == Unreadable("/etc/shadow", "Permission denied")
