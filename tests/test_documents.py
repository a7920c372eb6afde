"""Reading and decoding files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal.documents import (
    Document,
    Unreadable,
    count_lines,
    decode,
    read_file,
    read_lines,
)
from jlocal.errors import TextError

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
    "UTF-16 without mark": "plain".encode("utf-16-le"),
    "odd UTF-16": b"\xff\xfea",
    "lone surrogate in UTF-16": b"\xff\xfe\x00\xd8",
    "NUL": b"a\0b",
}


@pytest.mark.parametrize("name", DECODED)
def test_decode(name: str) -> None:
    data, text = DECODED[name]
    assert decode(data) == text


@pytest.mark.parametrize("name", NOT_TEXT)
def test_not_text(name: str) -> None:
    with pytest.raises(TextError, match="not"):
        decode(NOT_TEXT[name])


def test_lines_keep_their_numbers() -> None:
    data = b"\xef\xbb\xbfone\r\n\ntwo\xff\nthree"
    assert list(read_lines(io.BytesIO(data), "list.txt")) == [
        Document("1", "one"),
        Document("2", ""),
        Unreadable("list.txt:3", "not UTF-8 text"),
        Document("4", "three"),
    ]


def test_lines_of_several_files_are_named() -> None:
    lines = read_lines(io.BytesIO(b"one\n\xff\xfetwo\na\0b\n"), "list.txt", named=True)
    assert list(lines) == [
        Document("list.txt:1", "one"),
        Unreadable("list.txt:2", "not UTF-8 text"),
        Unreadable("list.txt:3", "not text: it contains NUL characters"),
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_lines_with_a_byte_order_mark(encoding: str) -> None:
    data = "\ufeffone\r\nz\u0a00wei\r\n\r\n".encode(encoding)
    lines = list(read_lines(io.BytesIO(data), "list.txt"))
    assert lines == [Document("1", "one"), Document("2", "z\u0a00wei"), Document("3", "")]
    (cut,) = read_lines(io.BytesIO(data[:-1]), "list.txt")
    assert isinstance(cut, Unreadable)


def test_final_line_breaks_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\nhello \r\n\n")
    assert read_file(tmp_path / "a") == Document(str(tmp_path / "a"), "\nhello ")


@pytest.mark.parametrize("data", [b"", b"\n", b"a", b"a\n", b"a\nb", b"\n\n", b"a\r\nb\r\n"])
def test_lines_are_counted_as_they_are_read(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(data)
    assert count_lines(path) == len(list(read_lines(io.BytesIO(data), "")))
    assert count_lines(tmp_path) is None


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
