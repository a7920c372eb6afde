"""Downloads and conversions that break off, that two processes want, or that find no room."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.pulls import NAME, fails, listed

CUT = 15 << 20  # where connections break


def parts(environment) -> list[Path]:
    return list(Path(environment["HF_HOME"]).rglob("*.incomplete"))


@pytest.fixture
def halfway(start, faults, environment) -> Callable[[], subprocess.Popen]:
    """Return a download that has a part of its file, and waits for the rest."""

    def begin() -> subprocess.Popen:
        faults.stalls += [CUT]
        process = start("pull", "small", "-yq", HF_HUB_DOWNLOAD_TIMEOUT="60")
        wait_until(lambda: any(part.stat().st_size >= CUT for part in parts(environment)))
        return process

    return begin


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_a_cut_connection_goes_on(jlocal, faults) -> None:
    faults.cuts += [CUT]
    status, _, err = jlocal("pull", "small", "-yq")
    assert (status, err) == (0, "")
    assert faults.ranges[:2] == ["", f"bytes={CUT}-"]


@pytest.mark.slow
def test_a_killed_download_goes_on(halfway, jlocal, faults, environment) -> None:
    process = halfway()
    process.kill()
    process.communicate()
    assert listed(jlocal) == {}
    faults.release.set()
    assert jlocal("pull", "small", "-yq")[0] == 0
    assert faults.ranges[:2] == ["", f"bytes={CUT}-"]
    assert list(listed(jlocal)) == [NAME]
    assert parts(environment) == []


@pytest.mark.slow
def test_ctrl_c_leaves_a_part_that_is_used(halfway, jlocal, faults) -> None:
    process = halfway()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "Interrupted.")
    faults.release.set()
    assert jlocal("pull", "small", "-yq")[0] == 0
    assert faults.ranges[1] == f"bytes={CUT}-"


@pytest.mark.slow
def test_rm_removes_what_an_unfinished_download_left(halfway, jlocal, environment) -> None:
    process = halfway()
    assert "another process is downloading" in fails(jlocal("rm", "small", "-yq"))
    process.kill()
    process.communicate()
    status, _, err = jlocal("rm", "small", "-y")
    assert (status, err) == (0, "Removed an unfinished download, 16 MB\n")
    assert parts(environment) == []
    assert "not on this machine" in fails(jlocal("rm", "small", "-y"))


@pytest.mark.slow
def test_a_killed_conversion_is_swept(start, jlocal, user_folders) -> None:
    arguments = ("pull", "nano-clustering:F16", "--convert", "-yq")
    models = user_folders / "data" / "jlocal" / "models"
    process = start(*arguments)
    wait_until(lambda: process.poll() is not None or any(models.glob(".jlocal-*")))
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert list(models.glob(".jlocal-*"))
    assert jlocal(*arguments)[0] == 0
    assert sorted(path.suffix for path in models.iterdir()) == [".gguf", ".json"]


@pytest.mark.slow
def test_two_at_once_download_once(start, faults, jlocal) -> None:
    processes = [start("pull", "small", "-yq") for _ in range(2)]
    done = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], done
    assert done[0] == done[1]
    assert faults.ranges == [""]
    assert list(listed(jlocal)) == [NAME]


@pytest.mark.slow
def test_the_second_of_two_says_what_it_waits_for(halfway, start, faults, jlocal) -> None:
    first = halfway()
    second = start("pull", "small", "-y")
    lines = [second.stderr.readline() for _ in range(2)]
    assert lines[1] == f"Waiting for another process that downloads {NAME}\n"
    # A signal within a write to stderr would repeat what was written.
    time.sleep(0.5)
    second.send_signal(signal.SIGINT)
    assert (second.communicate(timeout=60)[1].strip(), second.returncode) == ("Interrupted.", 130)
    faults.release.set()
    assert first.communicate(timeout=60)
    assert first.returncode == 0
    assert list(listed(jlocal)) == [NAME]


@pytest.mark.slow
def test_a_second_conversion_waits_for_the_first(start, user_folders, jlocal, hub) -> None:
    from jlocal.models.locks import locked

    lock = user_folders / "data" / "jlocal" / ".locks" / "nano-clustering-F16.lock"
    with locked(lock):
        waiting = start("pull", "nano-clustering:F16", "--convert", "-y")
        lines = [waiting.stderr.readline() for _ in range(2)]
        assert lines[1] == "Waiting for another process that makes nano-clustering:F16\n"
    out, _ = waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert Path(out.rstrip("\n")).is_file()


@pytest.mark.slow
def test_a_disk_that_fills_up(environment, jlocal) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", "pull", "small", "-y"],
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20)),
    )
    assert "make room" in fails((done.returncode, done.stdout, done.stderr))
    assert listed(jlocal) == {}


@pytest.mark.slow
def test_a_damaged_file_is_repaired_by_pull(jlocal, environment) -> None:
    path = Path(jlocal("pull", "small:Q4_K_M", "-yq")[1].rstrip("\n"))
    good = path.read_bytes()
    path.resolve().chmod(0o644)
    path.write_bytes(good[:-1])
    line = fails(jlocal("show", "small:Q4_K_M"))
    assert "jlocal pull small-retrieval:Q4_K_M" in line
    path.write_bytes(good[:-1] + b"!")
    assert jlocal("pull", "small:Q4_K_M", "-yq")[0] == 0
    assert path.read_bytes() == good
