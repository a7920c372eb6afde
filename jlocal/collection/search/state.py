"""Whether a file is still as it was indexed, told without reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

State = Literal["current", "changed", "missing"]


def state_of(path: str, stamp: str | None) -> State:
    """Compare a file with its stamp, of which size and time of change are the first two parts.

    What cannot be told counts as current: a file without a stamp, or in a folder that may not be
    read. Nor is a share of another machine asked: a collection from elsewhere may name any.
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
