"""Child processes: a module runs in its own Python, within limits, and ends with its parent.

`python -m` and `python -c` put the current folder on the module search path, where someone else's
`numpy.py` may be. Every child is therefore started here, isolated (`-I`) and with an
explicit search path.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PACKAGE = Path(__file__).resolve().parent
_BOOT = _PACKAGE / "boot.py"


@dataclass(frozen=True)
class Limits:
    """The limits of a child; None sets no limit.

    Attributes:
        seconds: wall-clock time.
        memory: address space in bytes (not on Windows, and not reliably on macOS).
        output: bytes of standard output and of standard error each (not on Windows).

    """

    seconds: float | None = None
    memory: int | None = None
    output: int | None = None


@dataclass(frozen=True)
class Finished:
    """A child that ended.

    Attributes:
        status: exit status; negative for the signal that ended it.
        stdout: its standard output.
        stderr: its standard error, decoded as UTF-8.

    """

    status: int
    stdout: bytes
    stderr: str


def search_path() -> list[str]:
    """List the folders that a child imports from: this process's, without the current folder.

    The folder that holds this package stays, even if it is the current folder.
    """
    home = str(_PACKAGE.parent)
    folders = [
        entry
        for entry in sys.path
        if Path(entry).is_absolute() and (_same(entry, home) or not _is_current(entry))
    ]
    return folders if any(_same(entry, home) for entry in folders) else [*folders, home]


def python(module: str, *arguments: str, limits: Limits | None = None) -> list[str]:
    """Build the command that runs a module as a child of this process.

    On Linux the system ends the child with the thread that starts it, so that thread must wait.

    Args:
        module: an absolute module name; it runs as `__main__`.
        arguments: for the module.
        limits: limits of memory and output; the caller enforces the time limit.

    """
    limits = limits or Limits()
    order = {
        "module": module,
        "path": search_path(),
        "parent": os.getpid(),
        "memory": limits.memory,
        "output": limits.output,
    }
    # An isolated Python ignores PYTHON* variables, but must decode file names in the same way.
    # `-B`: compiled modules would be kept even if the limit of output truncates them.
    mode = ["-B", "-X", f"utf8={sys.flags.utf8_mode}"]
    return [sys.executable, "-I", *mode, str(_BOOT), json.dumps(order), *arguments]


def run(
    module: str,
    *arguments: str,
    data: bytes = b"",
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Finished:
    """Run a module as a child and wait for its end.

    Neither the child nor, except on Windows, any process that it starts outlives this call.

    Args:
        module: an absolute module name; it runs as `__main__`.
        arguments: for the module.
        data: its standard input.
        limits: limits of time, memory and output.
        environment: its environment instead of this process's.
        folder: its current folder instead of this process's.

    Raises:
        TimeoutError: the child took longer than `limits.seconds`, and was killed.
        OSError: the child cannot be started.

    """
    limits = limits or Limits()
    with contextlib.ExitStack() as stack:
        # Files, not pipes: they cannot block, and the system limits their size.
        stdin, stdout, stderr = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        stdin.write(data)
        stdin.seek(0)
        process = stack.enter_context(
            subprocess.Popen(  # noqa: S603
                python(module, *arguments, limits=limits),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd=folder,
                # A process group of its own, which `end` ends as a whole.
                start_new_session=True,
            )
        )
        try:
            status = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"not done within {limits.seconds:g} seconds") from None
        finally:
            _end(process)
        return Finished(status, _content(stdout), _content(stderr).decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a child and its own children, such as the compilers of a build."""
    process.kill()
    if sys.platform != "win32":
        # The group exists as long as any of its processes, so its id is not reused.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _is_current(entry: str) -> bool:
    try:
        return _same(entry, str(Path.cwd()))
    except OSError:  # the current folder was deleted
        return False


def _same(a: str, b: str) -> bool:
    try:
        return os.path.samefile(a, b)  # noqa: PTH121
    except (OSError, ValueError):
        return a == b
