"""What only Linux has may be missing: its modules, functions and flags."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# What Windows lacks and code asks for at run time; `mypy --platform win32` finds the rest. What the
# standard library and numpy themselves ask for on this system stays.
MODULES = ("fcntl", "grp", "pwd", "readline", "resource", "syslog", "termios", "tty")
NAMES = {
    "os": (
        "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "chown", "fchmod", "fork", "geteuid", "getuid",
        "getpgid", "memfd_create", "mkfifo", "nice", "posix_fadvise", "pread", "pwrite",
        "register_at_fork", "sched_getaffinity", "setsid", "sysconf",
    ),
    "signal": ("SIGALRM", "SIGHUP", "SIGPIPE", "pthread_sigmask", "setitimer"),
    "time": ("tzset",),
}  # fmt: skip
WITHOUT = f"""
import importlib, sys
# They take the names of this system when they are imported.
import multiprocessing.util, pathlib, platform, platformdirs.unix
import shutil, socket, subprocess, tempfile, threading
platform.uname()
for name in {MODULES}:
    sys.modules[name] = None
for module, names in {NAMES}.items():
    for name in names:
        delattr(importlib.import_module(module), name)
"""


def run(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


def jlocal(*arguments: str, cwd: Path) -> str:
    done = run("from jlocal.__main__ import main; main()", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="they are missing there anyway")
def test_the_program_runs_without_what_only_linux_has(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "cats.md").write_text("# Cats\n\nA cat sleeps in the sun.\n")
    (notes / "page.html").write_text("<p>Shares fell on Monday.</p>")
    assert jlocal("embed", "a cat", "-m", "starter", cwd=tmp_path).startswith("{")
    jlocal("index", "notes", "-m", "starter", "-d", "notes.db", cwd=tmp_path)
    found = jlocal("search", "-d", "notes.db", "where does the cat lie", "--files", cwd=tmp_path)
    assert Path(found.splitlines()[0]).name == "cats.md"
    found = jlocal("search", "-d", "notes.db", "what fell on Monday", "--files", cwd=tmp_path)
    assert Path(found.splitlines()[0]).name == "page.html"
    jlocal("index", "-d", "notes.db", "--rebuild", cwd=tmp_path)
    jlocal("status", "-d", "notes.db", cwd=tmp_path)
    jlocal("embed", "notes", "-m", "starter", "-o", "vectors.npz", cwd=tmp_path)
    assert (tmp_path / "vectors.npz").is_file()
    jlocal("doctor", "starter", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="they are missing there anyway")
def test_widening_without_a_file_in_memory_is_an_error_that_says_what_to_do(
    tmp_path: Path,
) -> None:
    code = """
import os
os.environ["JLOCAL_KERNELS"] = "0"
from jlocal import Embedder, ModelError
try:
    Embedder("starter", compute_type="bfloat16")
except ModelError as error:
    print(error)
"""
    done = run(code, cwd=tmp_path)
    assert "only Linux can widen weights in memory" in done.stdout, done.stderr
    assert "compute_type='stored'" in done.stdout


def test_the_memory_of_machine_and_process_is_plausible() -> None:
    from jlocal.memory import free_memory, peak_memory, total_memory

    total, free, peak = total_memory(), free_memory(), peak_memory()
    if sys.platform == "linux":
        assert free is not None
    if sys.platform != "win32":
        assert total is not None
        assert peak is not None
        assert 10 << 20 < peak < total
    assert free is None or total is None or free < total
