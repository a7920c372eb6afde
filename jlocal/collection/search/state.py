"""Tell whether a file has changed since it was indexed, without reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

State = Literal["current", "changed", "missing"]


def state_of(path: str, stamp: str | None) -> State:
    """Compare a file with its stamp, which begins with its size and modification time.

    An unknown state counts as current: that of a file without a stamp, or in an unreadable folder.
    Network shares are never accessed: a stranger's collection may name any.
    """
    if path.startswith(("\\\\", "//")):
        return "current"
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except (OSError, ValueError):
        return "current"
    known = (stamp or "").split()[:2]
    return (
        "changed"
        if known and known != [str(status.st_size), str(status.st_mtime_ns)]
        else "current"
    )
