"""A Ctrl-C that comes at the worst moment."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from jlocal.waiting import next_of, result_of


def main_thread_waits() -> bool:
    """Whether the main thread waits for a vector or for other work."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame and frame.f_code not in (result_of.__code__, next_of.__code__):
        frame = frame.f_back
    return frame is not None


@contextmanager
def interrupt_before_wait(release: Callable[[], object]) -> Iterator[None]:
    """Expect that the main thread notices a Ctrl-C that came just before its wait began.

    `interrupt_main` does what Python's handler in C does, but no system call is interrupted by it,
    as none is that begins after the handler.

    Args:
        release: ends the wait; called after twenty seconds, so that a test fails and does not hang.

    """
    noticed, released = threading.Event(), threading.Event()

    def interrupt() -> None:
        while not main_thread_waits():
            if noticed.wait(0.002):
                return
        # By now its wait has begun; before it, any wait would notice the interrupt.
        time.sleep(0.05)
        _thread.interrupt_main()
        # Many short waits, since a virtual machine may stand still for longer than any deadline.
        for _ in range(200):
            if noticed.wait(0.1):
                return
        released.set()
        release()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
        assert not released.is_set()
    finally:
        noticed.set()
        thread.join()
