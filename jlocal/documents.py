"""From paths, lines and strings to documents: walking, reading, decoding."""

from __future__ import annotations

import codecs
import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jlocal.errors import TextError

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
    """An input that gave no text, and why."""

    id: str
    reason: str


def find_files(
    paths: Iterable[str | Path], include: Sequence[str] = ()
) -> Iterator[Path | Unreadable]:
    """List files, and those in folders recursively, in sorted order.

    Entries of a folder whose names begin with a dot are left out, as is what does not match
    `include`; links are followed, and a loop is reported.

    Args:
        paths: files and folders.
        include: globs for files inside folders, matched against the name or, with a slash in
            the glob, against the path inside the folder. A file named in `paths` is always read.

    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from _in_folder(path, path, include, ())
        else:
            yield path


def _in_folder(
    root: Path, folder: Path, include: Sequence[str], above: tuple[tuple[int, int], ...]
) -> Iterator[Path | Unreadable]:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Unreadable(str(folder), _reason(error))
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        yield Unreadable(str(folder), "a link to a folder that contains it")
        return
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if path.is_dir():
            yield from _in_folder(root, path, include, (*above, here))
        elif _included(path.relative_to(root).as_posix(), include):
            yield path


def _included(relative: str, include: Sequence[str]) -> bool:
    name = relative.rpartition("/")[2]
    return not include or any(
        fnmatch.fnmatchcase(relative if "/" in glob else name, glob) for glob in include
    )


def read_file(path: Path) -> Document | Unreadable:
    """Read one file as one document."""
    try:
        if not path.is_file() and path.exists():
            return Unreadable(str(path), "not a regular file")
        if path.stat().st_size > _LARGEST_FILE:
            return Unreadable(str(path), "larger than 64 MiB; split it")
        return Document(str(path), decode(path.read_bytes()))
    except TextError as error:
        return Unreadable(str(path), str(error))
    except OSError as error:
        return Unreadable(str(path), _reason(error))


def read_lines(file: BinaryIO, name: str) -> Iterator[Document | Unreadable]:
    """Read one document a line, as UTF-8; ids are line numbers from 1. An empty line counts."""
    for number, line in enumerate(file, start=1):
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            content = content.removeprefix(codecs.BOM_UTF8)
        try:
            yield Document(str(number), content.decode("utf-8"))
        except UnicodeDecodeError:
            yield Unreadable(f"{name}:{number}", "not UTF-8")


def decode(data: bytes) -> str:
    """Decode a file's bytes: UTF-8, or what its byte order mark says (UTF-8, UTF-16, UTF-32).

    Raises:
        TextError: the bytes are not text in that encoding.

    """
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8")
    )
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        raise TextError(f"not {encoding.upper()} text") from None
    if "\0" in text:
        raise TextError("not text: it contains NUL characters")
    return text


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
