"""Hidden folders for work in progress.

Each is locked while its process lives. What a killed process has left is removed by the next one
that works in the same place; without such locks (on Windows) what is a day old is.
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
_DAY = 86_400


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a hidden folder that is removed at the end, with what is still in it.

    Args:
        parent: where; None is the system's folder for temporary files.

    Raises:
        OSError: it cannot be made.

    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(where)
    folder, lock = _make(where)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def sweep(parent: Path) -> None:
    """Remove what killed processes have left in a folder, and nothing of a living one."""
    try:
        left = [path for path in parent.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return
    for folder in left:
        with suppress(OSError):
            if sys.platform == "win32" or fcntl is None:
                if time.time() - folder.stat().st_mtime > _DAY:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _make(parent: Path) -> tuple[Path, int | None]:
    """Make a folder and lock it, before another process takes it for one that was left."""
    while True:
        # Named here, so that Ctrl-C can arrive at any moment after it is made, and not leave it.
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
    """Lock a folder that was just made; say whether no other process has taken it since."""
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
        # A file system without locks; there, nothing is swept.
        os.close(lock)
        return True, None
    if os.fstat(lock).st_nlink:
        return True, lock
    os.close(lock)
    return False, None
