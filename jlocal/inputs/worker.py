"""A child process that reads files one after another, within limits.

Starting Python and a parser takes longer than reading a usual file, so the child stays for the
next file. It is killed when a file takes too long, and restarted when it is needed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import threading
from typing import BinaryIO, cast

from jlocal import child
from jlocal.errors import TextError
from jlocal.inputs.serve import LENGTH_BYTES
from jlocal.printable import printable

# 64 million characters in UTF-8, with JSON's escapes.
_MAX_ANSWER = 512 << 20
_MAX_REASON = 400


class Worker:
    """A child that runs a reader module; threads take turns."""

    def __init__(self, module: str, *, seconds: float, memory: int) -> None:
        """Create a worker; its child starts with the first file.

        Args:
            module: absolute name of a module that calls `serve`.
            seconds: maximum time for a file.
            memory: maximum address space of the child, in bytes, on systems that can limit it.

        """
        self._module, self.seconds, self._memory = module, seconds, memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def read(self, data: bytes) -> dict[str, object]:
        """Read a file in the child.

        Raises:
            TextError: the child refuses the file, takes too long, or dies.

        """
        with self._lock:
            answer = self._ask_running(data) or self._ask_new(data)
        if "reason" in answer:
            raise TextError(printable(str(answer["reason"]))[:_MAX_REASON])
        return answer

    def close(self) -> None:
        """End the child; the next request starts a new one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            _close_pipes(process)

    def _ask_running(self, data: bytes) -> dict[str, object] | None:
        """Ask the running child; None if there is none, or it ends."""
        if self._process is None:
            return None
        try:
            return self._exchange(self._process, data)
        except EOFError:
            return None

    def _ask_new(self, data: bytes) -> dict[str, object]:
        # The files or the end of the last child must not affect this file.
        self.close()
        self._process = process = subprocess.Popen(  # noqa: S603
            child.python(self._module, limits=child.Limits(memory=self._memory)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            return self._exchange(process, data)
        except EOFError:
            raise TextError(_exit_message(process.wait())) from None

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> dict[str, object]:
        requests, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        # Not every system can read a pipe with a deadline, but killing the child closes the pipe.
        timer = threading.Timer(self.seconds, expire)
        timer.daemon = True
        timer.start()
        done = False
        try:
            requests.write(len(data).to_bytes(LENGTH_BYTES, "big"))
            requests.write(data)
            requests.flush()
            answer = _read_answer(answers)
            done = True
        except (EOFError, OSError):
            if expired.is_set():
                raise TextError(f"not read within {self.seconds:g} seconds; split it") from None
            raise EOFError from None
        finally:
            timer.cancel()
            if not done:
                process.kill()
        return answer

    def _forget(self) -> None:
        """After a fork, leave the child to the parent process."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process:
            _close_pipes(process)


def _read_answer(answers: BinaryIO) -> dict[str, object]:
    size = int.from_bytes(_read_exactly(answers, LENGTH_BYTES), "big")
    if size > _MAX_ANSWER:
        raise EOFError
    try:
        answer = json.loads(_read_exactly(answers, size))
    except (ValueError, RecursionError):
        raise EOFError from None
    return answer if isinstance(answer, dict) else {}


def _read_exactly(answers: BinaryIO, size: int) -> bytes:
    data = answers.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _exit_message(status: int) -> str:
    cause = f"status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            cause = signal.Signals(-status).name
    return f"reading it broke off ({cause}); it is damaged, or takes more than 2 GiB of memory"


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            # Unsent bytes are discarded.
            with contextlib.suppress(OSError):
                pipe.close()
