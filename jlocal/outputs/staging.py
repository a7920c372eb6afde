"""Hidden folders for work in progress.

Each is locked while its process lives. The folder of a killed process is removed by the next
process that works in the same place; without file locks (on Windows), it is removed after a day.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".jlocal-", ".tmp"
_NAME = re.compile(re.escape(_PREFIX) + "[a-z0-9_]{8}" + re.escape(_SUFFIX))
_MAX_AGE = 86_400


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a hidden folder that is removed at the end, with its content.

    Args:
        parent: its parent folder; None is the system's folder for temporary files.

    Raises:
        OSError: the folder cannot be created.

    """
    parent_folder = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(parent_folder)
    folder, lock = _create(parent_folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the scratch folders of killed processes from a folder."""
    try:
        leftovers = [path for path in parent.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return
    for folder in leftovers:
        with suppress(OSError):
            if sys.platform == "win32" or fcntl is None:
                if time.time() - folder.stat().st_mtime > _MAX_AGE:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _create(parent: Path) -> tuple[Path, int | None]:
    """Create and lock a folder, before another process removes it as a leftover."""
    while True:
        # Named before it is created, so that it is removed whenever Ctrl-C arrives.
        folder = parent.absolute() / f"{_PREFIX}{secrets.token_hex(4)}{_SUFFIX}"
        try:
            folder.mkdir(mode=0o700)
            is_ours, lock = _lock(folder)
        except FileExistsError:
            continue
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if is_ours:
            return folder, lock


def _lock(folder: Path) -> tuple[bool, int | None]:
    """Lock a new folder; return False if another process has removed it already."""
    if sys.platform == "win32" or fcntl is None:
        return True, None
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False, None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False, None
    except OSError:
        # A file system without locks, on which no folders are swept.
        os.close(lock)
        return True, None
    if os.fstat(lock).st_nlink:
        return True, lock
    os.close(lock)
    return False, None
