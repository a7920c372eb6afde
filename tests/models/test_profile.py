"""A header with a large vocabulary is read once, and again as soon as its file changes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jlocal.models.profile import read_profile
from jlocal.models.starter import FILE
from support.headers import SOUND, gguf, text


def test_the_header_of_an_unchanged_file_is_read_once() -> None:
    assert read_profile(FILE) is read_profile(str(FILE))


def test_files_that_change_within_a_step_of_the_clock_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for number in range(20):
        path.write_bytes(gguf([*SOUND, text("general.name", f"version {number:02}")]))
        assert read_profile(path).name == f"version {number:02}"


def test_a_file_is_read_again_when_its_size_or_its_time_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if each file were three seconds old.
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3_000_000_000)
    path = tmp_path / "model.gguf"
    for number, name in enumerate(("one", "other", "OTHER")):
        path.write_bytes(gguf([*SOUND, text("general.name", name)]))
        os.utime(path, (number, number))
        assert read_profile(path).name == name
        assert read_profile(path) is read_profile(path)
