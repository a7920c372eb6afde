"""Make .venv, with this project and its development dependencies.

demo.py and test.py make the same environment, and then use it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
BINARIES = FOLDER / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BINARIES / ("python.exe" if os.name == "nt" else "python")


def say(message: str) -> None:
    """Print a line at once, also into a pipe."""
    print(message, flush=True)


def run(*command: str | Path) -> None:
    """Show a command and run it; the program ends with its status if it fails."""
    shown = shlex.join(str(part).removeprefix(f"{BINARIES}{os.sep}") for part in command)
    say(f"\n$ {shown}")
    status = subprocess.run([str(part) for part in command], cwd=ROOT).returncode
    if status:
        sys.exit(status)


def install(group: str | None = None) -> None:
    """Make the environment, and install the packages while a clock shows progress.

    llama.cpp is compiled, which takes minutes; CMAKE_ARGS goes through to its build.

    Args:
        group: of dependencies in pyproject.toml, to install as well.

    """
    if sys.version_info < (3, 10):  # noqa: UP036
        sys.exit("jlocal needs Python 3.10 or later")
    if not PYTHON.exists():
        say(f"Making a virtual environment in {FOLDER} …")
        try:
            venv.create(FOLDER, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(FOLDER, ignore_errors=True)
            sys.exit(f"Cannot make it ({error}); on Debian and Ubuntu, install python3-venv.")
    requirements = ["-e", "."]
    if group is not None:
        # Pythons before 3.14 come with a pip that knows no groups.
        _pip("pip>=25.1")
        requirements += ["--group", group]
    with _clock("Installing; llama.cpp is compiled for this machine, on all cores"):
        _pip(*requirements)


def _pip(*requirements: str) -> None:
    environment = {"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1), **os.environ}
    command = [str(PYTHON), "-I", "-m", "pip", "install", "--quiet", *requirements]
    if subprocess.run(command, cwd=ROOT, env=environment).returncode:
        sys.exit("Installing failed: see above. It needs a C++ compiler and a package index.")


@contextmanager
def _clock(message: str) -> Iterator[None]:
    """Print the elapsed time at intervals."""
    stop = threading.Event()
    start = time.monotonic()
    interval = 1 if sys.stdout.isatty() else 20

    def tick() -> None:
        while not stop.wait(interval):
            minutes, seconds = divmod(int(time.monotonic() - start), 60)
            end = "\r" if sys.stdout.isatty() else "\n"
            print(f"{message} … {minutes}:{seconds:02d}", end=end, flush=True)

    say(f"{message} …")
    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if sys.stdout.isatty():
            print()


if __name__ == "__main__":
    install("dev")
