"""Checks of output files before a run, and their publication after it; it knows no tensors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jlocal.errors import ArgumentError, OutputError
from jlocal.files import unwritable
from jlocal.gguf.types import FILE_TYPES
from jlocal.llama.quantize import check_file_type
from jlocal.outputs.staging import scratch_folder, sweep
from jlocal.terms import Argument

_OVERWRITE = Argument("overwrite", True)


def check_types(names: Sequence[str], *, with_importance: bool = False) -> list[str]:
    """Return the names of file types in upper case, without repetition.

    Args:
        names: names in any case.
        with_importance: whether there will be an importance matrix.

    Raises:
        OutputError: a type is unknown, or llama.cpp cannot make it without an importance matrix.

    """
    types = list(dict.fromkeys(name.upper() for name in names))
    if not types:
        raise OutputError(f"no type was named; choose from {', '.join(FILE_TYPES)}")
    for name in types:
        try:
            check_file_type(name, with_importance=with_importance)
        except ArgumentError as error:
            raise OutputError(error.message, *error.message.terms) from error
    return types


def check_folder(folder: Path) -> Path:
    """Return an output folder unless it, or a folder above it, is a file.

    Raises:
        OutputError: one of them is a file.

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
        OutputError: a file exists and `overwrite` is False, or a path is a folder.

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
    """Refuse to overwrite the input.

    Raises:
        OutputError: one of the files is the input.

    """
    for file in files:
        if file.exists() and file.samefile(source):
            raise OutputError(f"{file} is the input itself; name another output", path=file)


def check_space(folder: Path, needed: int) -> None:
    """Check that the disk has enough free space.

    Args:
        folder: the output folder, which need not exist yet.
        needed: bytes to write.

    Raises:
        OutputError: the disk has less free space.

    """
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    sweep(there)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise OutputError(f"cannot use {there}: {error.strerror or error}") from error
    if free < needed:
        raise OutputError(
            f"the files for {folder} need {needed / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB "
            "are free; make room, or name another output folder",
            path=folder,
        )


def make_folder(folder: Path) -> None:
    """Make the output folder and its parents.

    Raises:
        OutputError: a folder cannot be made.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = str(error)
        if isinstance(error, OSError):
            reason = unwritable(error, "name another output folder")
        raise OutputError(f"cannot make {str(folder)[:80]!r}: {reason}") from error


@contextmanager
def hidden_files(folder: Path, names: Iterable[str]) -> Iterator[list[Path]]:
    """Give paths in a hidden folder to write to; remove the files that are left in it.

    Args:
        folder: the output folder, which gets the hidden folder.
        names: the endings of the files' names.

    Raises:
        OutputError: the files cannot be written.

    """
    try:
        with scratch_folder(folder) as hidden:
            yield [hidden / f"{number}-{name}" for number, name in enumerate(names)]
    except OSError as error:
        reason = unwritable(error, "name another output folder")
        raise OutputError(f"cannot write to {folder}: {reason}", path=folder) from error


def publish(moves: Iterable[tuple[Path, Path]]) -> None:
    """Rename complete files to their final names, once all of them are safe on the disk."""
    pairs = list(moves)
    for hidden, _ in pairs:
        with hidden.open("rb+") as file:
            os.fsync(file.fileno())
    for hidden, target in pairs:
        hidden.replace(target)
