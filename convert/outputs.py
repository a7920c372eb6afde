"""The files of a run: their names, whether they may be written, whether they fit on the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jlocal.errors import OutputError
from jlocal.files import write_aside
from jlocal.llama.quantize import FILE_TYPES, NEEDS_IMPORTANCE_MATRIX


def check_types(names: Sequence[str]) -> list[str]:
    """Return the names of file types in upper case, without repetition.

    Raises:
        OutputError: a name is unknown, or llama.cpp cannot make it without an importance matrix.

    """
    possible = ", ".join(name for name in FILE_TYPES if name not in NEEDS_IMPORTANCE_MATRIX)
    types = list(dict.fromkeys(name.upper() for name in names))
    for name in types:
        if name in NEEDS_IMPORTANCE_MATRIX:
            raise OutputError(f"{name} needs an importance matrix; without one, use {possible}")
        if name not in FILE_TYPES:
            raise OutputError(f"unknown type {name[:40]!r}; the possible are {possible}")
    if not types:
        raise OutputError(f"no type was named; the possible are {possible}")
    return types


def check_folder(folder: Path) -> Path:
    """Return an output folder unless it is, or lies under, a file.

    Raises:
        OutputError: it is one.

    """
    for path in (folder, *folder.parents):
        if path.is_dir():
            break
        if path.exists():
            raise OutputError(f"{path} is a file; name a folder for the output")
    return folder


def check_absent(files: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse to replace files.

    Raises:
        OutputError: one exists and `overwrite` is False, or one is a folder.

    """
    for file in files:
        if file.is_dir():
            raise OutputError(f"{file} is a folder; remove it, or name another output folder")
        if file.exists() and not overwrite:
            raise OutputError(f"{file} exists; pass overwrite=True (--force) to replace it")


def check_space(folder: Path, needed: int) -> None:
    """Compare what will be written with what is free.

    Args:
        folder: where to; it need not exist yet.
        needed: bytes.

    Raises:
        OutputError: there is less room.

    """
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise OutputError(f"cannot use {there}: {error.strerror or error}") from error
    if free < needed:
        raise OutputError(
            f"{folder} needs {needed / 1e6:,.0f} MB and has {free / 1e6:,.0f} MB free; "
            "make room, or name another output folder"
        )


def make_folder(folder: Path) -> None:
    """Make the output folder and those above it.

    Raises:
        OutputError: they cannot be made.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror or error}") from error


@contextmanager
def written_together(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Let files appear when all are complete; after an error none is left.

    Yields:
        For each target the path to write to meanwhile: a hidden file in the same folder.

    Raises:
        OutputError: a file cannot be written.

    """
    with ExitStack() as stack:
        files = [stack.enter_context(write_aside(target)) for target in targets]
        yield [Path(file.name) for file in files]
        # Each is flushed once more as it gets its name, and then nothing can fail any more.
        for file in files:
            os.fsync(file.fileno())


@contextmanager
def scratch_file(folder: Path, name: str) -> Iterator[Path]:
    """Make a hidden file that is removed at the end.

    Raises:
        OutputError: it cannot be made.

    """
    try:
        file = tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}.")  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    with file:
        yield Path(file.name)
