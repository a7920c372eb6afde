"""Disks that are small, full or read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk_of(size: str, folder: Path, *, is_busy_at_the_end: bool = False) -> Iterator[Path]:
    """Mount a disk of a size such as "300k" at a new folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", *["--lazy"] * is_busy_at_the_end, folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_of("20m", tmp_path / "disk", is_busy_at_the_end=True) as folder:
        yield folder


def fill(folder: Path) -> None:
    """Fill the disk to the last byte."""
    file = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (4096, 1):
        try:
            while os.write(file, b"x" * size):
                pass
        except OSError:
            pass
    os.close(file)


class read_only:
    """Make a folder read-only, even for root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted = os.geteuid() == 0

    def __enter__(self) -> None:
        if not self._mounted:
            self._folder.chmod(0o500)
            return
        command = ["mount", "--bind", "-o", "ro", self._folder, self._folder]
        if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            pytest.skip("root can write everywhere, and cannot mount here")

    def __exit__(self, *_: object) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", self._folder], check=True)
        else:
            self._folder.chmod(0o700)
