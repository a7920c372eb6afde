"""The absolute paths of a collection's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jlocal.errors import CollectionError

# The suffix of a rebuilt collection, until it replaces the old file.
REBUILD = "-rebuild"


def absolute(path: str | Path) -> str:
    """Return the absolute path under which a collection knows a file.

    Raises:
        CollectionError: the working directory was deleted.

    """
    try:
        # Links stay unresolved: `resolve` would follow them.
        return os.path.abspath(path)  # noqa: PTH100
    except FileNotFoundError:
        raise CollectionError(
            f"the working directory was deleted, so that {path} cannot be found; change to another",
            path=Path(path),
        ) from None


def folders_above(path: str) -> Iterator[str]:
    """Yield the folders above a path, nearest first."""
    while (folder := os.path.dirname(path)) != path:  # noqa: PTH120
        yield folder
        path = folder
