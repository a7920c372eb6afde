"""A child process that reads one file after another, within limits.

Starting Python and a parser takes longer than reading a usual file, so the child stays for the
next one. It is ended when a file takes too long, and started again when it is needed.
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
from jlocal.inputs.serve import HEAD
from jlocal.printable import printable

# 64 million characters in UTF-8, and what JSON escapes.
_LARGEST_ANSWER = 512 << 20
_LONGEST_REASON = 400


class Worker:
    """The child that runs a module of this package; threads take turns."""

    def __init__(self, module: str, *, seconds: float, memory: int) -> None:
        """Start nothing yet.

        Args:
            module: an absolute module name, which calls `serve`.
            seconds: that a file may take.
            memory: of address space that the child may take, in bytes, where the system can bound
                it.

        """
        self._module, self.seconds, self._memory = module, seconds, memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def ask(self, data: bytes) -> dict[str, object]:
        """Have a file read.

        Raises:
            TextError: the child refuses it, takes too long, or dies of it.

        """
        with self._lock:
            answer = self._of_used(data) or self._of_fresh(data)
        if "reason" in answer:
            raise TextError(printable(str(answer["reason"]))[:_LONGEST_REASON])
        return answer

    def close(self) -> None:
        """End the child; the next request starts another."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            _close_pipes(process)

    def _of_used(self, data: bytes) -> dict[str, object] | None:
        """Ask the child that is there; None if there is none, or it ends."""
        if self._process is None:
            return None
        try:
            return self._exchange(self._process, data)
        except EOFError:
            return None

    def _of_fresh(self, data: bytes) -> dict[str, object]:
        # What the last child had read, or who ended it, must not decide about this file.
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
            raise TextError(_obituary(process.wait())) from None

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> dict[str, object]:
        requests, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        # Not on every system can a pipe be read with a deadline; a dead process closes it.
        timer = threading.Timer(self.seconds, expire)
        timer.daemon = True
        timer.start()
        done = False
        try:
            requests.write(len(data).to_bytes(HEAD, "big"))
            requests.write(data)
            requests.flush()
            answer = _received(answers)
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
        """Leave the child to the process that started it, after a fork."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process:
            _close_pipes(process)


def _received(answers: BinaryIO) -> dict[str, object]:
    size = int.from_bytes(_read(answers, HEAD), "big")
    if size > _LARGEST_ANSWER:
        raise EOFError
    try:
        answer = json.loads(_read(answers, size))
    except (ValueError, RecursionError):
        raise EOFError from None
    return answer if isinstance(answer, dict) else {}


def _read(answers: BinaryIO, size: int) -> bytes:
    data = answers.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _obituary(status: int) -> str:
    how = f"status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-status).name
    return f"reading it broke off ({how}); it is damaged, or takes more than 2 GiB of memory"


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            # What was not sent is of no use now.
            with contextlib.suppress(OSError):
                pipe.close()
