"""The memory of this machine and of this process, in bytes; None if it is unknown."""

from __future__ import annotations

import sys
from pathlib import Path


def total_memory() -> int | None:
    """Return the memory of this machine."""
    return _meminfo("MemTotal") or _sysconf()


def free_memory() -> int | None:
    """Return the memory that is available to programs."""
    return _meminfo("MemAvailable")


def peak_memory() -> int | None:
    """Return the peak resident memory of this process."""
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":
        # On Linux, ru_maxrss includes the peak of the parent process.
        return _field(Path("/proc/self/status"), "VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _meminfo(name: str) -> int | None:
    return _field(Path("/proc/meminfo"), name)


def _field(path: Path, name: str) -> int | None:
    """Parse a line such as `MemTotal:  16318480 kB` of a file in /proc."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    values = (line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))
    return next((1024 * int(value.split()[0]) for value in values), None)


def _sysconf() -> int | None:
    if sys.platform == "win32":
        return None
    import os

    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
