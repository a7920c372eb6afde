"""Unfinished downloads in the hub's cache, which the next call goes on with."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from jlocal.locations import make_private
from jlocal.models.cache import cache_folder, repository_folder

_SUFFIX = ".jlocal.incomplete"
_WEEK = 7 * 86_400


def part_of(blob: Path) -> Path:
    """Say where the part of a blob is kept that has come so far."""
    return blob.with_name(f"{blob.name}{_SUFFIX}")


def lock_of(blob: Path) -> Path:
    """Say which file is locked while a blob is downloaded."""
    return blob.parents[2] / ".locks" / blob.parents[1].name / f"{blob.name}.jlocal.lock"


def parts(repositories: Iterable[str]) -> list[Path]:
    """List the unfinished downloads of repositories."""
    found = (repository_folder(name).glob(f"blobs/*{_SUFFIX}") for name in repositories)
    return sorted(path for paths in found for path in paths)


def sweep_old_parts() -> None:
    """Remove the unfinished downloads that nobody has gone on with for a week."""
    for part in cache_folder().glob(f"models--*/blobs/*{_SUFFIX}"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _WEEK:
                remove_part(part)


def remove_part(part: Path) -> bool:
    """Remove an unfinished download; return whether no other process is at it.

    Raises:
        OSError: it cannot be removed.

    """
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    lock = lock_of(part.with_name(part.name.removesuffix(_SUFFIX)))
    make_private(lock.parent)
    try:
        with WeakFileLock(lock, timeout=0.1):
            part.unlink(missing_ok=True)
    except Timeout:
        return False
    return True
