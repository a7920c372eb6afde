"""The number of CPU threads for llama.cpp on this machine; it knows no llama.cpp."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def default_threads() -> int:
    """Return the number of physical cores that this process may use, within its cgroup limits.

    Two threads on one core share its arithmetic units, so more threads than cores do not help
    matrix products.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
        cores = {_siblings(cpu) for cpu in allowed}
        count = len(cores)
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, cpu_limit() or count))


def _siblings(cpu: int) -> str:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return topology.read_text().strip()
    except OSError:
        return str(cpu)


def cpu_limit(root: Path = _ROOT) -> int | None:
    """Return the CPUs that control groups, and so containers, leave this process, rounded down.

    The limits of all visible parent groups apply too.

    Args:
        root: the folder that holds proc/ and sys/.

    Returns:
        At least 1; None without a limit.

    """
    quotas = [
        quota for group in _groups(root) for quota in (_quota_v2(group), _quota_v1(group)) if quota
    ]
    return max(1, int(min(quotas))) if quotas else None


def _quota_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _groups(root: Path) -> Iterator[Path]:
    """List the folders of the groups that may limit the CPU, from the innermost to the root."""
    paths = dict(_paths(root))
    mounts = list(_mounts(root))
    for version, inside, folder in mounts:
        path = paths.get(version, "/")
        # In a container, the root folder may belong to an inner group.
        inside = inside.rstrip("/")
        below = PurePosixPath(
            path[len(inside) + 1 :] if f"{path}/".startswith(f"{inside}/") else ""
        )
        for part in (below, *below.parents) if ".." not in below.parts else (PurePosixPath(),):
            yield root / folder.lstrip("/") / part
    if not mounts:
        for name in ("", "cpu", "cpu,cpuacct"):
            yield root / "sys/fs/cgroup" / name


def _paths(root: Path) -> Iterator[tuple[int, str]]:
    """List this process's group for each version of control groups."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield 2, path
        elif "cpu" in controllers.split(","):
            yield 1, path


def _mounts(root: Path) -> Iterator[tuple[int, str, str]]:
    """List each mounted tree of groups: its version, its root group, and its mount point."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), (*after.split(" "), "", "", "")[:3]
        inside, folder = fields[3:5] if len(fields) > 4 else ("", "")
        if kind == "cgroup2":
            yield 2, inside, folder.replace(r"\040", " ")
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield 1, inside, folder.replace(r"\040", " ")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
