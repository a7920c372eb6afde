"""The files of a run: their names, whether they may be written, whether they fit on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jlocal.errors import ArgumentError, OutputError
from jlocal.gguf.types import FILE_TYPES
from jlocal.llama.quantize import check_file_type
from jlocal.outputs.staging import scratch_folder, sweep
from jlocal.terms import Argument

_OVERWRITE = Argument("overwrite", True)


def check_types(names: Sequence[str], *, with_importance: bool = False) -> list[str]:
    """Return the names of file types in upper case, without repetition.

    Args:
        names: in any case.
        with_importance: whether there will be an importance matrix.

    Raises:
        OutputError: a name is unknown, or llama.cpp cannot make it without an importance matrix.

    """
    types = list(dict.fromkeys(name.upper() for name in names))
    if not types:
        raise OutputError(f"no type was named; choose among {', '.join(FILE_TYPES)}")
    for name in types:
        try:
            check_file_type(name, with_importance=with_importance)
        except ArgumentError as error:
            raise OutputError(str(error)) from error
    return types


def check_folder(folder: Path) -> Path:
    """Return an output folder unless it is, or lies under, a file.

    Raises:
        OutputError: it is one.

    """
    try:
        for path in (folder, *folder.parents):
            if path.is_dir():
                break
            if path.exists():
                raise OutputError(f"{path} is a file; name a folder for the output", path=path)
    except (OSError, ValueError) as error:
        raise OutputError(f"{str(folder)[:80]!r} cannot be a folder: {error}") from error
    return folder


def check_absent(files: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse to replace files.

    Raises:
        OutputError: one exists and `overwrite` is False, or one is a folder.

    """
    for file in files:
        if file.is_dir():
            raise OutputError(
                f"{file} is a folder; remove it, or name another output folder", path=file
            )
        if file.exists() and not overwrite:
            raise OutputError(
                f"{file} exists; pass {_OVERWRITE} to replace it", _OVERWRITE, path=file
            )


def check_not_read(files: Iterable[Path], source: Path) -> None:
    """Refuse to write over what is read.

    Raises:
        OutputError: one of the files is the source.

    """
    for file in files:
        if file.exists() and file.samefile(source):
            raise OutputError(f"{file} is the input itself; name another output", path=file)


def check_space(folder: Path, needed: int) -> None:
    """Compare what will be written with what is free.

    Args:
        folder: where to; it need not exist yet.
        needed: bytes.

    Raises:
        OutputError: there is less room.

    """
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    sweep(there)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise OutputError(f"cannot use {there}: {error.strerror or error}") from error
    if free < needed:
        raise OutputError(
            f"{folder} needs {needed / 1e6:,.0f} MB and has {free / 1e6:,.0f} MB free; "
            "make room, or name another output folder",
            path=folder,
        )


def make_folder(folder: Path) -> None:
    """Make the output folder and those above it.

    Raises:
        OutputError: they cannot be made.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot make {str(folder)[:80]!r}: {reason}") from error


@contextmanager
def hidden_files(folder: Path, names: Iterable[str]) -> Iterator[list[Path]]:
    """Choose files in a hidden folder for the work; the files left at the end are removed.

    Args:
        folder: where that is, beside the files that they become.
        names: what the names of the files end with.

    Raises:
        OutputError: they cannot be written.

    """
    try:
        with scratch_folder(folder) as hidden:
            yield [hidden / f"{number}-{name}" for number, name in enumerate(names)]
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}", path=folder
        ) from error


def publish(moves: Iterable[tuple[Path, Path]]) -> None:
    """Give complete files their names, once all of them are safe on the disk."""
    pairs = list(moves)
    for hidden, _ in pairs:
        with hidden.open("rb+") as file:
            os.fsync(file.fileno())
    for hidden, target in pairs:
        hidden.replace(target)
