"""A lock that admits one indexer of a collection at a time."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from jlocal.collection.database.check import COLLECTION
from jlocal.errors import BusyError, CollectionError
from jlocal.files import unwritable
from jlocal.outputs.sqlite import Cause, cause_of, open_file


@contextlib.contextmanager
def sole_indexer(path: Path, wait: float) -> Iterator[None]:
    """Keep other indexers out; the system releases the lock however the process ends.

    Args:
        path: of the collection.
        wait: how many seconds to wait for another indexer.

    Raises:
        CollectionError: another indexer still holds the lock.

    """
    COLLECTION.check_files(path)
    aside = path.with_name(f"{path.name}-lock")
    deadline = time.monotonic() + wait
    while (lock := _try_to_lock(path, aside, deadline)) is None:
        if time.monotonic() >= deadline:
            raise BusyError(
                f"another jlocal is indexing into {path}; run this again when it has ended",
                path=path,
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
        lock.close()


def _try_to_lock(path: Path, aside: Path, deadline: float) -> sqlite3.Connection | None:
    """Lock an empty database, which works on every system; None if another process has it."""
    try:
        # The path may be taken by a link, which is not followed, or a pipe.
        with contextlib.suppress(FileExistsError), aside.open("xb"):
            pass
        status = aside.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            raise CollectionError(f"{aside} is not a lock file of jlocal; remove it", path=aside)
        COLLECTION.check_files(aside)
        before = status.st_ino
    except OSError as error:
        # The last owner may just have removed it.
        if isinstance(error, FileNotFoundError) and aside.parent.is_dir():
            return None
        if not aside.parent.exists():
            raise CollectionError(
                f"there is no folder {aside.parent}; make it first", path=aside.parent
            ) from error
        elsewhere = "name a file in a folder that can be written"
        if path.exists():
            elsewhere = (
                "it can still be searched; to change it, copy it into a folder that can be written"
            )
        raise CollectionError(
            f"cannot write {path}: {unwritable(error, elsewhere)}", path=path
        ) from error
    left = max(0.0, deadline - time.monotonic())
    lock = open_file(aside, timeout=left)
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")
        lock.execute("BEGIN EXCLUSIVE")
        # The last owner has removed the file, and another process may have made a new one.
        if aside.stat().st_ino == before:
            return lock
    except FileNotFoundError:
        pass
    except sqlite3.Error as error:
        if cause_of(error) not in (Cause.LOCKED, Cause.CANNOT_OPEN):
            lock.close()
            raise COLLECTION.explained(aside, error) from error
    lock.close()
    return None
