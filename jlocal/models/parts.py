"""Unfinished downloads in the hub's cache, which the next call resumes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from jlocal.locations import make_private
from jlocal.models.cache import cache_folder, repository_folder

_SUFFIX = ".jlocal.incomplete"
_WEEK = 7 * 86_400


def part_path(blob: Path) -> Path:
    """Return the path of a blob's unfinished download."""
    return blob.with_name(f"{blob.name}{_SUFFIX}")


def lock_path(blob: Path) -> Path:
    """Return the path of the file that is locked while a blob is downloaded."""
    return blob.parents[2] / ".locks" / blob.parents[1].name / f"{blob.name}.jlocal.lock"


def list_parts(repositories: Iterable[str]) -> list[Path]:
    """List the unfinished downloads of repositories."""
    matches = (repository_folder(name).glob(f"blobs/*{_SUFFIX}") for name in repositories)
    return sorted(path for paths in matches for path in paths)


def remove_old_parts() -> None:
    """Remove the unfinished downloads that have not changed for a week."""
    for part in cache_folder().glob(f"models--*/blobs/*{_SUFFIX}"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _WEEK:
                remove_part(part)


def remove_part(part: Path) -> bool:
    """Remove an unfinished download; return False if another process is downloading it.

    Raises:
        OSError: the file cannot be removed.

    """
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    lock = lock_path(part.with_name(part.name.removesuffix(_SUFFIX)))
    make_private(lock.parent)
    try:
        with WeakFileLock(lock, timeout=0.1):
            part.unlink(missing_ok=True)
    except Timeout:
        return False
    return True
