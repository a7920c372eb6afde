"""From paths, lines and strings to documents: walking, reading, decoding."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from jlocal.errors import ExtraError, TextError
from jlocal.extract import PAGE_BREAK, html_encoding, html_text, kind_of, pdf_pages
from jlocal.selection import Selection

_LARGEST_FILE = 64 << 20

# UTF-32's mark begins with UTF-16's, so it is asked for first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Document:
    """A text and the name that its vector goes by."""

    id: str
    text: str


@dataclass(frozen=True)
class Unreadable:
    """An input that gave no text, and why.

    Attributes:
        id: its name.
        reason: why.
        is_known: whether it was looked at: a folder without files, or a file without text.

    """

    id: str
    reason: str
    is_known: bool = field(default=False, compare=False)


def find_files(
    paths: Iterable[str | Path],
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    gitignore: bool = False,
) -> Iterator[Path | Unreadable]:
    """List files, and those in folders recursively, in sorted order.

    Entries of a folder whose names begin with a dot are left out, as is what the globs leave out;
    links are followed; a loop, and a folder that gives nothing, is reported.

    Args:
        paths: files and folders.
        include: globs for files inside folders, matched against the name or, with a slash in
            the glob, against the path inside the folder. A file named in `paths` is always read.
        exclude: globs for files and folders inside folders that are left out.
        gitignore: leave out what .gitignore files in the folders, and above them in the same
            repository, name.

    """
    for path in map(Path, paths):
        try:
            is_folder = path.is_dir()
            selection = Selection(path, include, exclude)
            if is_folder and gitignore:
                selection = selection.with_gitignore()
        except (OSError, ValueError) as error:
            yield Unreadable(str(path), _reason(error))
            continue
        if not is_folder:
            yield path
            continue
        found = False
        for item in _in_folder(path, selection, ()):
            found = True
            yield item
        if not found:
            chosen = include or exclude or gitignore
            reason = "no file in it matches" if chosen else "no file in it"
            yield Unreadable(str(path), reason, is_known=True)


def _in_folder(
    folder: Path, selection: Selection, above: tuple[tuple[int, int], ...]
) -> Iterator[Path | Unreadable]:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        selection = selection.inside(folder)
    except OSError as error:
        yield Unreadable(str(folder), _reason(error))
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        yield Unreadable(str(folder), "a link to a folder that contains it")
        return
    for entry in entries:
        path = folder / entry.name
        is_folder = path.is_dir()
        if not selection.takes(path, folder=is_folder):
            continue
        if is_folder:
            yield from _in_folder(path, selection, (*above, here))
        else:
            yield path


def read_file(path: Path) -> Document | Unreadable:
    """Read one file as one document, without its final line breaks.

    Of HTML it is what the page shows; pages of a PDF file are apart by `extract.PAGE_BREAK`.
    """
    try:
        if not path.is_file() and path.exists():
            return Unreadable(str(path), "not a regular file; for a pipe use -i", is_known=True)
        if path.stat().st_size > _LARGEST_FILE:
            return Unreadable(str(path), "larger than 64 MiB; split it", is_known=True)
        return Document(str(path), _READERS[kind_of(path)](path.read_bytes()))
    except TextError as error:
        return Unreadable(str(path), str(error), is_known=True)
    except ExtraError as error:
        return Unreadable(str(path), str(error))
    except (OSError, ValueError) as error:
        return Unreadable(str(path), _reason(error))


def _plain(data: bytes) -> str:
    return decode(data).rstrip("\r\n")


def _html(data: bytes) -> str:
    return html_text(decode(data, html_encoding(data)))


def _pdf(data: bytes) -> str:
    return PAGE_BREAK.join(pdf_pages(data))


_READERS = {"": _plain, "html": _html, "pdf": _pdf}


def read_lines(
    file: BinaryIO, name: str, *, named: bool = False
) -> Iterator[Document | Unreadable]:
    """Read one document a line; an empty line counts.

    Args:
        file: UTF-8, or with a byte order mark what the mark says.
        name: of the file, for reports.
        named: make ids `name:number`; otherwise they are line numbers from 1.

    """
    for number, line in enumerate(_lines(file), start=1):
        place = f"{name}:{number}"
        try:
            text = line if isinstance(line, str) else _text(line, "utf-8")
        except TextError as error:
            yield Unreadable(place, str(error))
        else:
            yield Document(place if named else str(number), text)


def _lines(file: BinaryIO) -> Iterator[bytes | str]:
    first = file.readline()
    marks = tuple(mark for mark, encoding in _MARKS if encoding != "utf-8")
    if first.startswith(marks):
        # A line break is more than one byte there, so the whole is decoded first.
        try:
            text = decode(first + file.read())
        except TextError:
            yield first
            return
        yield from (line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
        return
    line = first.removeprefix(codecs.BOM_UTF8)
    while line:
        yield line.removesuffix(b"\n").removesuffix(b"\r")
        line = file.readline()


def count_lines(path: Path) -> int | None:
    """How many documents `read_lines` will find in a file; None if only reading it can tell."""
    try:
        if not path.is_file():
            return None
        last = b"\n"
        count = 0
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                count += block.count(b"\n")
                last = block[-1:]
    except OSError:
        return None
    return count + (last != b"\n")


def decode(data: bytes, declared: str = "utf-8") -> str:
    """Decode a file's bytes.

    Args:
        data: what the file holds.
        declared: the encoding, unless a byte order mark says UTF-8, UTF-16 or UTF-32.

    Raises:
        TextError: the bytes are not text in that encoding.

    """
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", declared)
    )
    return _text(data[len(mark) :], encoding)


def _text(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise TextError(f"not {encoding.upper()} text") from None
    if "\0" in text:
        raise TextError("not text: it contains NUL characters")
    return text


def _reason(error: OSError | ValueError) -> str:
    # A name with a NUL is a ValueError.
    return getattr(error, "strerror", None) or str(error)
