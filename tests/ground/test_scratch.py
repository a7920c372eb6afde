"""What killed processes leave is removed; what living ones are at is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jlocal.models.parts import lock_path, part_path, remove_old_parts
from jlocal.outputs.atomic import atomic_write
from jlocal.outputs.staging import scratch_folder, sweep
from jlocal_convert import outputs

# A process that is at work until its input ends, or that is killed before.
AT_WORK = """
import sys
from pathlib import Path
from jlocal_convert.outputs import hidden_files
from jlocal.outputs.atomic import atomic_write
from jlocal.outputs.staging import scratch_folder
kind, folder = sys.argv[1], Path(sys.argv[2])
block = {
    "aside": lambda: atomic_write(folder / "out.npz"),
    "files": lambda: hidden_files(folder, ["a.gguf", "a.gguf"]),
    "folder": lambda: scratch_folder(folder),
}[kind]()
with block as at_work:
    if kind == "files":
        at_work[0].write_bytes(b"first")
        at_work[0].replace(at_work[1])
        at_work[0].write_bytes(b"second")
    print("ready", flush=True)
    sys.stdin.read()
"""


def at_work(kind: str, folder: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, kind, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["aside", "files", "folder"])
def test_what_a_killed_process_left_goes_and_nothing_of_a_living_one(kind, tmp_path) -> None:
    (tmp_path / ".out.npz.20240101").write_text("the user's own")
    (tmp_path / ".jlocal-notes").mkdir()
    living = at_work(kind, tmp_path)
    there = files_in(tmp_path)
    killed = at_work(kind, tmp_path)
    killed.kill()
    killed.communicate()
    assert files_in(tmp_path) > there
    with atomic_write(tmp_path / "other") as file:
        file.write(b"x")
    assert files_in(tmp_path) == there | {"other"}
    living.communicate("")
    assert living.returncode == 0
    (tmp_path / "out.npz").unlink(missing_ok=True)
    assert files_in(tmp_path) == {".out.npz.20240101", ".jlocal-notes", "other"}


@pytest.mark.slow
def test_room_is_made_before_it_is_measured(tmp_path) -> None:
    killed = at_work("files", tmp_path)
    killed.kill()
    killed.communicate()
    outputs.check_space(tmp_path / "new" / "folder", 1)
    assert files_in(tmp_path) == set()


def test_a_link_of_that_name_is_not_followed(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (tmp_path / ".jlocal-abcdefgh.tmp").symlink_to("mine")
    os.mkfifo(tmp_path / ".jlocal-hgfedcba.tmp")
    sweep(tmp_path)
    assert (tmp_path / "mine" / "file").exists()


def test_two_do_not_take_each_others_folder(tmp_path) -> None:
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        (first / "file").touch()
        sweep(tmp_path)
        assert (first / "file").exists()
        assert second.is_dir()
    assert files_in(tmp_path) == set()


def test_unfinished_downloads_go_after_a_week(tmp_path, monkeypatch) -> None:
    from huggingface_hub import constants

    from jlocal.models.locks import locked

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    old, new, held = (part_path(blobs / (letter * 64)) for letter in "abc")
    for part in (old, new, held):
        part.write_bytes(b"x")
    for part in (old, held):
        os.utime(part, (time.time() - 8 * 86_400,) * 2)
    with locked(lock_path(blobs / ("c" * 64))):
        remove_old_parts()
    assert sorted(path.name[0] for path in blobs.iterdir()) == ["b", "c"]
