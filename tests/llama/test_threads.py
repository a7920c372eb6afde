"""The CPUs that control groups leave: both versions, nested, and as a container sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal.llama.threads import cpu_limit, default_threads

V2 = "30 23 0:26 {inside} {at} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "33 23 0:29 {inside} {at} rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
MEMORY = "34 23 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
TOP, OLD = "/sys/fs/cgroup", "/sys/fs/cgroup/cpu,cpuacct"


def tree(root: Path, mounts: str, groups: str, **files: str) -> Path:
    """Write what the system shows."""
    texts = {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups}
    for name, content in (texts | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


CASES = {
    "none": (V2, "0::/\n", {}, "/", None),
    "unlimited": (V2, "0::/a\n", {f"{TOP}/a/cpu.max": "max 100000\n"}, "/", None),
    "own": (V2, "0::/a\n", {f"{TOP}/a/cpu.max": "200000 100000\n"}, "/", 2),
    "less than one": (V2, "0::/a\n", {f"{TOP}/a/cpu.max": "50000 100000\n"}, "/", 1),
    "nested": (
        V2, "0::/user/a/b\n",
        {
            f"{TOP}/user/a/b/cpu.max": "max 100000",
            f"{TOP}/user/a/cpu.max": "300000 100000",
            f"{TOP}/user/cpu.max": "700000 100000",
        },
        "/", 3,
    ),
    "the top": (V2, "0::/a/b\n", {f"{TOP}/cpu.max": "400000 100000"}, "/", 4),
    "a sibling's does not count": (V2, "0::/a\n", {f"{TOP}/b/cpu.max": "100000 100000"}, "/", None),
    "a container's own tree": (
        V2, "0::/docker/x/y\n", {f"{TOP}/y/cpu.max": "250000 100000"}, "/docker/x", 2,
    ),
    "another container's tree": (
        V2, "0::/docker/xyz\n", {f"{TOP}/yz/cpu.max": "100000 100000"}, "/docker/x", None,
    ),
    "a group outside the tree": (V2, "0::/../other\n", {f"{TOP}/cpu.max": "100000 50000"}, "/", 2),
    "version 1": (
        V1, "5:memory:/m\n4:cpu,cpuacct:/a\n0::/\n",
        {f"{OLD}/a/cpu.cfs_quota_us": "150000\n", f"{OLD}/a/cpu.cfs_period_us": "50000\n"}, "/", 3,
    ),
    "version 1 without a limit": (
        V1, "4:cpu,cpuacct:/a\n",
        {f"{OLD}/a/cpu.cfs_quota_us": "-1\n", f"{OLD}/a/cpu.cfs_period_us": "100000\n"}, "/", None,
    ),
    "version 1, a group above": (
        V1, "4:cpu,cpuacct:/a/b\n",
        {
            f"{OLD}/a/b/cpu.cfs_quota_us": "900000", f"{OLD}/a/b/cpu.cfs_period_us": "100000",
            f"{OLD}/a/cpu.cfs_quota_us": "200000", f"{OLD}/a/cpu.cfs_period_us": "100000",
        },
        "/", 2,
    ),
    "version 1 in a container": (
        V1, "4:cpu,cpuacct:/docker/x\n",
        {f"{OLD}/cpu.cfs_quota_us": "200000", f"{OLD}/cpu.cfs_period_us": "100000"},
        "/docker/x", 2,
    ),
    "not numbers": (V2, "0::/a\n", {f"{TOP}/a/cpu.max": "many few"}, "/", None),
    "a period of 0": (V2, "0::/a\n", {f"{TOP}/a/cpu.max": "1 0"}, "/", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_limit_of_any_group_above_counts(name: str, tmp_path: Path) -> None:
    mount, groups, files, inside, limit = CASES[name]
    at = OLD if mount == V1 else TOP
    mounts = MEMORY + mount.format(inside=inside, at=at)
    files = {path.lstrip("/"): content for path, content in files.items()}
    assert cpu_limit(tree(tmp_path, mounts, groups, **files)) == limit


def test_both_versions_at_once(tmp_path: Path) -> None:
    mounts = V2.format(inside="/", at=f"{TOP}/unified") + V1.format(inside="/", at=OLD)
    files = {
        f"{TOP}/unified/a/cpu.max"[1:]: "500000 100000",
        f"{OLD}/b/cpu.cfs_quota_us"[1:]: "300000",
        f"{OLD}/b/cpu.cfs_period_us"[1:]: "100000",
    }
    assert cpu_limit(tree(tmp_path, mounts, "4:cpu,cpuacct:/b\n0::/a\n", **files)) == 3


def test_where_nothing_is_said_of_mounts(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path) is None
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("200000 100000\n")
    assert cpu_limit(tmp_path) == 2


def test_there_is_always_a_thread() -> None:
    assert default_threads() >= 1
