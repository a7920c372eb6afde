"""Delete a collection: its file, and its log and lock beside it."""

from __future__ import annotations

from pathlib import Path

from jlocal.collection.database.lock import sole_indexer
from jlocal.collection.index.rebuild import discard
from jlocal.errors import CollectionError


def delete(path: Path, wait: float = 0) -> None:
    """Delete a collection for good; the files that were indexed stay.

    Args:
        path: of its file.
        wait: how many seconds to wait for an indexer of it.

    Raises:
        CollectionError: it is in use, or cannot be deleted.

    """
    with sole_indexer(path, wait):
        discard(path)
        try:
            # Without its log the file would be half a collection, so the file is deleted first.
            for ending in ("", "-wal", "-shm", "-journal"):
                path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
        except OSError as error:
            raise CollectionError(
                f"cannot delete {path}: {error.strerror or error}", path=path
            ) from error
