"""Files that are written completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jlocal.errors import OutputError
from jlocal.files import unwritable
from jlocal.outputs.staging import scratch_folder


@contextmanager
def atomic_write(target: Path, *, follow_link: bool = True) -> Iterator[BinaryIO]:
    """Open a file in a hidden folder beside `target`, and rename it to `target` at the end.

    Args:
        target: the file to write; one that exists is replaced.
        follow_link: replace the file that a link names; otherwise the link itself is replaced, and
            so is a pipe or a device.

    Raises:
        OutputError: the file cannot be written; no part of it remains.

    """
    real = Path(os.path.realpath(target)) if follow_link else target
    try:
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file", path=target)
        if follow_link and target.exists() and not target.is_file():
            raise OutputError(
                f"{target} is not a regular file; name one, or write to standard output",
                path=target,
            )
        with scratch_folder(real.parent) as folder:
            aside = folder / "aside"
            with aside.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(real)
    except OSError as error:
        reason = unwritable(error, "name a file in a folder that can be written")
        raise OutputError(f"cannot write {target}: {reason}", path=target) from error
