"""Disks that are small, full or read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Leave not one byte."""
    file = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (4096, 1):
        try:
            while os.write(file, b"x" * size):
                pass
        except OSError:
            pass
    os.close(file)


class read_only:
    """Make a folder one that cannot be written, for root as well."""

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
