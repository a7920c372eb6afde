"""Ctrl-C, SIGTERM and SIGHUP end the program by an exception, so that it cleans up."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from jlocal.progress import log

# Windows has SIGBREAK, from Ctrl-Break, and no SIGHUP.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")

# How many seconds cleaning up may take before another signal ends the process.
_PATIENCE = 5.0


class _Stopping:
    """The signal that the program is ending for, and since when."""

    number: int | None = None
    since = 0.0


def install() -> None:
    """Take these signals, except where the program was started to ignore them, as by nohup."""
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    sys.unraisablehook = _on_unraisable


def received() -> int | None:
    """Return the number of the signal that ends the program, if there is one."""
    return _Stopping.number


def forget() -> None:
    """Go on after a signal that was taken for something else, such as the end of a search."""
    _Stopping.number = None


def leave() -> NoReturn:
    """End the program for the signal at once: without waiting for threads that compute."""
    assert _Stopping.number is not None
    if _Stopping.number == signal.SIGINT:
        log("Interrupted.")
    os._exit(128 + _Stopping.number)


def end_at_once() -> None:
    """Let a signal from now on end the program without an exception: nothing is left to do."""
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == _stop:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    _Stopping.number = number
    leave()


def _stop(number: int, _frame: FrameType | None) -> None:
    now = time.monotonic()
    if _Stopping.number is None:
        _Stopping.number, _Stopping.since = number, now
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
    # A second one must not interrupt the cleaning up after the first.
    if now - _Stopping.since > _PATIENCE:
        leave()


def _on_unraisable(problem: sys.UnraisableHookArgs) -> None:
    """Send a signal again whose exception was raised where Python can only print and forget it."""
    number = _Stopping.number
    if number is not None and isinstance(problem.exc_value, (KeyboardInterrupt, SystemExit)):
        forget()
        threading.Timer(0.05, _send, (number,)).start()
    else:
        sys.__unraisablehook__(problem)


def _send(number: int) -> None:
    """Send a signal to this process, and wake the main thread where it waits."""
    if sys.platform == "win32":
        # There, os.kill ends a process whatever it has installed.
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)
