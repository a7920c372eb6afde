"""The paths by which a collection knows files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jlocal.errors import CollectionError

# What is behind the name of a collection that is made anew, until it takes the old one's place.
REBUILD = "-rebuild"


def absolute(path: str | Path) -> str:
    """Return the path by which the collection knows a file.

    Raises:
        CollectionError: the working directory was deleted.

    """
    try:
        # Links stay as they are named: `resolve` would follow them.
        return os.path.abspath(path)  # noqa: PTH100
    except FileNotFoundError:
        raise CollectionError(
            f"the working directory was deleted, so that {path} cannot be found; change to another",
            path=Path(path),
        ) from None


def folders_above(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, the nearest first."""
    while (folder := os.path.dirname(path)) != path:  # noqa: PTH120
        yield folder
        path = folder
