"""How many threads llama.cpp should compute with on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def default_threads() -> int:
    """Physical cores that this process may use, within its cgroup's CPU limit.

    Two threads on one core share the units that do the arithmetic, so more threads than cores
    do not help matrix products.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
        cores = {_siblings(cpu) for cpu in allowed}
        count = len(cores)
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, _cgroup_limit() or count))


def _siblings(cpu: int) -> str:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return topology.read_text().strip()
    except OSError:
        return str(cpu)


def _cgroup_limit() -> int | None:
    """Whole CPUs in the quota of cgroup v2, which is how containers are held back."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None
