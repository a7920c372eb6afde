"""Running servers: `jlocal serve` as its own process, or an application in a thread."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn

    from jlocal.server.options import ServerOptions

_READY = re.compile(r"jlocal answers at (\S+)")
_START, _STOP = 60, 60  # seconds


@dataclass
class Running:
    """A server that answers at `url`; its log is in `log`, line by line."""

    url: str
    process: subprocess.Popen[str]
    log: list[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the status with which the server ends."""
        self.process.send_signal(number)
        return self.process.wait(_STOP)


@contextmanager
def running(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[Running]:
    """Run `jlocal serve` on a free port until the end of the context."""
    command = [sys.executable, "-m", "jlocal", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    stderr, log = process.stderr, []

    def read() -> None:
        log.extend(iter(stderr.readline, ""))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    hurry = threading.Timer(_START, process.kill)
    hurry.start()
    try:
        ready = _READY.match(process.stdout.readline())
        hurry.cancel()
        assert ready, "".join(log)
        yield Running(ready[1], process, log)
    finally:
        hurry.cancel()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(_STOP)
        process.stdout.close()
        stderr.close()


@contextmanager
def served(options: ServerOptions) -> Iterator[str]:
    """Serve in a thread, with options that the command line lacks; yield the URL."""
    from jlocal.server import run

    ready: Queue[str | BaseException] = Queue()
    servers: list[uvicorn.Server] = []

    def target() -> None:
        try:
            run.serve(options, ready.put, logs=False, on_start=servers.append)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        url = ready.get(timeout=_START)
        if isinstance(url, BaseException):
            raise url
        yield url
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(_STOP)
        assert not thread.is_alive()
