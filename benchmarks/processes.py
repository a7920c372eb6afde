"""Child processes, none of which outlives the benchmark."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_KILOBYTE = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


@dataclass(frozen=True)
class Run:
    """The time and memory of one whole process.

    Attributes:
        seconds: from its start to its end.
        peak: resident memory in bytes. Linux includes the memory of the process that started it, so
            the benchmarks themselves stay small and use `in_child` for large work.

    """

    seconds: float
    peak: int


def say(message: str) -> None:
    """Report progress on standard error."""
    print(message, file=sys.stderr, flush=True)


def environment(device: str = "cpu") -> dict[str, str]:
    """Return the environment of the measured programs: offline and, on the CPU, with GPUs hidden.

    llama.cpp gives large products to a GPU even when all layers are on the CPU.
    """
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    # Installed packages have their compiled files; a checkout should have them as well.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    if device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables


@contextlib.contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process in a group of its own, and end the whole group."""
    process = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        # The group may live on without its first process.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def whole(
    command: Sequence[str], use: Callable[[subprocess.Popen[str]], object] | None = None
) -> Run:
    """Measure a process from start to end.

    Args:
        command: ends by itself, unless `use` is given.
        use: works with the process, which is then asked to end.

    """
    with tempfile.TemporaryFile("w+") as log:
        begin = time.perf_counter()
        with child(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
        ) as process:
            if use:
                try:
                    use(process)
                except OSError as error:
                    sys.exit(f"{' '.join(command)}: {error}\n{tail(log)}")
                process.terminate()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode and not use:
            sys.exit(f"{' '.join(command)} failed:\n{tail(log)}")
    return Run(seconds, usage.ru_maxrss * _KILOBYTE)


def tail(log: IO[str]) -> str:
    """Return the end of a process's output."""
    log.seek(0)
    return "".join(log.readlines()[-15:])


def peak_memory(pid: int | None = None) -> int:
    """Peak resident memory in bytes of this process, or of another one that runs."""
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        lines = status.read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    own = resource.RUSAGE_SELF if pid is None else resource.RUSAGE_CHILDREN
    return resource.getrusage(own).ru_maxrss * _KILOBYTE


def in_child(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a new interpreter, for large work or a fresh start."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(send, function, args, kwargs), daemon=True)
    process.start()
    send.close()
    try:
        return cast(R, receive.recv())
    except EOFError:
        sys.exit(f"{function.__name__} failed: see above")
    finally:
        process.kill()
        process.join()


def _answer(
    pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other side ends this process
    pipe.send(function(*args, **kwargs))
