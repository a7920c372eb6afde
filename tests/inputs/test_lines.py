"""Files of lines."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal.inputs.documents import Document, Unreadable
from jlocal.inputs.lines import count_lines, read_lines

HINT = "; name its encoding with encoding="


def texts(data: bytes, encoding: str | None = None) -> list[str]:
    """Read lines; of a bad one the reason, after an exclamation mark."""
    read = read_lines(io.BytesIO(data), "list.txt", encoding=encoding)
    return [item.text if isinstance(item, Document) else f"!{item.reason}" for item in read]


def test_lines_keep_their_numbers() -> None:
    data = b"\xef\xbb\xbfone\r\n\ntwo\xff\nthree"
    assert list(read_lines(io.BytesIO(data), "list.txt")) == [
        Document("1", "one"),
        Document("2", ""),
        Unreadable("list.txt:3", "not UTF-8 text"),
        Document("4", "three"),
    ]


def test_lines_of_several_files_are_named() -> None:
    read = read_lines(io.BytesIO(b"one\n\xff\xfetwo\na\0b\n"), "list.txt", named=True)
    assert list(read) == [
        Document("list.txt:1", "one"),
        Unreadable("list.txt:2", f"not UTF-8 text{HINT}"),
        Unreadable("list.txt:3", "not text: it contains NUL characters"),
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_lines_with_a_byte_order_mark(encoding: str) -> None:
    data = "\ufeffone\r\nz\u0a00wei\r\n\r\n".encode(encoding)
    read = list(read_lines(io.BytesIO(data), "list.txt"))
    assert read == [Document("1", "one"), Document("2", "z\u0a00wei"), Document("3", "")]
    (cut,) = read_lines(io.BytesIO(data[:-1]), "list.txt")
    assert isinstance(cut, Unreadable)


@pytest.mark.parametrize("data", [b"", b"\n", b"a", b"a\n", b"a\nb", b"\n\n", b"a\r\nb\r\n"])
def test_lines_are_counted_as_they_are_read(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(data)
    assert count_lines(path) == len(list(read_lines(io.BytesIO(data), "")))
    assert count_lines(tmp_path) is None


SPEECH = ["English first", "Grüße aus Köln", "", "Die Brücke über den Fluß wird geöffnet"]


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "utf-16-be", "utf-8"])
def test_lines_are_decoded_as_one_text(encoding: str, line_break: str) -> None:
    data = line_break.join(SPEECH).encode(encoding)
    assert texts(data) == SPEECH
    assert texts(data + line_break.encode(encoding)) == SPEECH


def test_the_encoding_of_lines_is_told(tmp_path: Path) -> None:
    read = list(read_lines(io.BytesIO("\n".join(SPEECH).encode("cp1252")), ""))
    assert {item.encoding for item in read if isinstance(item, Document)} == {"", "Windows-1252"}
    read = list(read_lines(io.BytesIO("\n".join(SPEECH).encode()), ""))
    assert {item.encoding for item in read if isinstance(item, Document)} == {""}


def test_an_encoding_that_is_named_settles_it() -> None:
    assert texts("é".encode("mac-roman")) == [f"!not UTF-8 text{HINT}"]
    assert texts("é".encode("mac-roman"), "mac-roman") == ["é"]
    assert texts("a\nテスト\n".encode("iso2022_jp"), "iso2022_jp") == ["a", "テスト"]
    assert texts("a\nテスト\n".encode("utf-16-le"), "utf-16-le") == ["a", "テスト"]
    # What is UTF-8 beyond doubt is in no other encoding.
    assert texts("a\né\n".encode(), "cp1252") == ["a", "é"]
    assert texts(b"a\xff\n", "utf-8") == ["!not UTF-8 text"]


def test_one_bad_line_of_utf8_is_no_other_encoding() -> None:
    data = "Grüße\nschön\n".encode() + "für\n".encode("cp1252") + "über\n".encode()
    assert texts(data) == ["Grüße", "schön", "!not UTF-8 text", "über"]
    data = "für\n".encode("cp1252") + "Grüße\nschöne Brücken\n".encode()
    assert texts(data) == [f"!not UTF-8 text{HINT}", "Grüße", "schöne Brücken"]


def test_lines_of_utf8_are_streamed() -> None:
    def slowly() -> Iterator[bytes]:
        yield "grün\n".encode()
        yield b"two\n"
        raise AssertionError("read too far")

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self._lines = slowly()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:
            line = next(self._lines)
            buffer[: len(line)] = line
            return len(line)

    read = read_lines(io.BufferedReader(Pipe()), "pipe")
    assert [next(read).id, next(read).id] == ["1", "2"]


@pytest.mark.slow
def test_long_lines_are_passed_over_and_endless_ones_end() -> None:
    longest = 64 << 20
    found = texts(b"one\n" + b"x" * (longest + (2 << 20)) + b"\nthree\n")
    assert [text[:13] for text in found] == ["one", "!a line large", "three"]
    assert texts(b"x" * longest) == ["x" * longest]
    with Path("/dev/zero").open("rb", 1 << 20) as file:
        (endless,) = read_lines(file, "")
    assert isinstance(endless, Unreadable)
    assert "without an end in 1 GiB" in endless.reason


def test_counting_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert count_lines(tmp_path / "pipe") is None
