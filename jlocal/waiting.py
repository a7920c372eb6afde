"""Waits that Ctrl-C ends.

Python calls handlers of signals between steps of its own code. A signal that arrives after the last
of these steps, just before the main thread begins to wait for a lock, does not interrupt the wait:
its handler runs only when the wait ends. On Windows, no signal interrupts such a wait. So wait in
slices, between which handlers run.
"""

from __future__ import annotations

from concurrent.futures import Future, TimeoutError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")

SLICE = 0.25
"""Seconds in which Ctrl-C may go unnoticed."""


def result_of(future: Future[_T]) -> _T:
    """Wait for a future; return its result, or raise its exception."""
    while not future.done():
        # A timeout of the work itself would be returned, not raised.
        with suppress(TimeoutError):
            future.exception(SLICE)
    return future.result()


def next_of(queue: SimpleQueue[_T]) -> _T:
    """Wait for the next item of a queue, and remove it."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=SLICE)
