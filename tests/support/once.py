"""Files that the processes of one run share: the first process that needs them makes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Make a folder, unless it exists; other processes wait meanwhile.

    Args:
        folder: where the files are to be.
        make: writes them into an empty folder, which is then renamed: files must not name it.

    """
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            draft = folder.with_name(f"{folder.name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            make(draft)
            draft.rename(folder)
    return folder


def by_type(folder: Path, types: Sequence[str]) -> dict[str, Path]:
    """Find the one file of each type that a conversion has put into a folder."""
    files = {}
    for type in types:
        (files[type],) = folder.glob(f"*-{type}.gguf")
    return files
