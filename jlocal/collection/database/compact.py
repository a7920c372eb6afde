"""Compaction: delete the texts that are in no document, and shrink the file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from jlocal.collection.database.store import Store
from jlocal.errors import CollectionError

_MARGIN = 1 << 20


@dataclass(frozen=True)
class Compaction:
    """The result of a compaction.

    Attributes:
        texts: how many texts were deleted, with their vectors.
        freed: bytes by which the file is smaller.
        reason: why the file could not be made smaller; the texts are still deleted, and their place
            in the file is overwritten and used again. None if the file was made smaller.

    """

    texts: int
    freed: int
    reason: str | None = None


def compact(store: Store) -> Compaction:
    """Delete texts that are in no document; free their disk space if that is safe.

    The file is rewritten, which needs room on the disk and no other readers.

    Raises:
        CollectionError: the file cannot be written; nothing was deleted.

    """
    before = _size(store.path)
    texts = store.delete_kept()
    reason = None if store.checkpoint() else "another program is reading it; run this again later"
    used, free = store.pages()
    if reason is None and free:
        reason = _no_room(store.path, used) or _shrink(store)
    return Compaction(texts, max(0, before - _size(store.path)), reason)


def _no_room(path: Path, used: int) -> str | None:
    # SQLite writes a copy, and then the pages of the copy into its log.
    needed, free = 2 * used + _MARGIN, shutil.disk_usage(path.absolute().parent).free
    if free >= needed:
        return None
    return f"it takes {needed / 1e6:,.0f} MB of free space, and {free / 1e6:,.0f} MB are free"


def _shrink(store: Store) -> str | None:
    try:
        store.vacuum()
    except CollectionError as error:
        return error.message
    return None if store.checkpoint() else "another program began to read it; run this again later"


def _size(path: Path) -> int:
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)
