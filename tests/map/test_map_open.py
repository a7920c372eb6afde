"""`jlocal map` without a file to write to: the page is kept, named, and shown at a desktop."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.maps import made

pexpect = pytest.importorskip("pexpect")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs a terminal"),
]
WAIT = 60
COMMAND = [sys.executable, "-m", "jlocal", "map", "-d", "notes.db"]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch) -> Path:
    """Let a script be the browser; return the file in which it writes what it is to open."""
    script, opened = tmp_path / "browser", tmp_path / "opened"
    script.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    script.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    monkeypatch.setenv("JLOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "notes.db")
    return opened


def read(path: Path) -> str:
    deadline = time.monotonic() + WAIT
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path.read_text()


def at_terminal(*arguments: str) -> list[str]:
    output, status = pexpect.run(
        " ".join([*COMMAND, *arguments]), withexitstatus=True, timeout=WAIT, dimensions=(24, 400)
    )
    assert status == 0, output
    return output.decode().splitlines()


def test_at_a_desktop_a_browser_opens_the_page(opened: Path) -> None:
    page = Path(at_terminal()[-1])
    assert read(opened) == f"{page.as_uri()}\n"
    assert b"<html" in page.read_bytes()[:200]
    assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
    # The next one takes its place.
    assert at_terminal("--no-open")[-1] == str(page)
    assert read(opened).count("\n") == 1
    assert list(page.parent.iterdir()) == [page]


def test_no_browser_opens_behind_a_pipe(opened: Path, tmp_path: Path) -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=True)
    assert Path(done.stdout.removesuffix("\n")).is_file()
    subprocess.run([*COMMAND, "-o", "map.html"], check=True)
    assert not opened.exists()
    # Unless that is asked for.
    subprocess.run([*COMMAND, "-o", "map.html", "--open"], check=True)
    assert read(opened) == f"{(tmp_path / 'map.html').as_uri()}\n"
    done = subprocess.run([*COMMAND, "-o", "-", "--open"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
