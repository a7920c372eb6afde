"""The memory that a function takes."""

from __future__ import annotations

import multiprocessing
import tracemalloc
from collections.abc import Callable
from typing import Any


def peak_memory(function: Callable[..., object], *arguments: Any) -> int:
    """Return the most bytes that Python's objects take during a call, beside those before it.

    The call has a process of its own, since the peak is one of all threads, and tests that ran
    before may have left some. It is the second there: what the first imports stays.

    Args:
        function: of a module, as are its arguments, so that they can be pickled.
        arguments: for each of both calls.

    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (function, arguments))


def _peak(function: Callable[..., object], arguments: tuple[Any, ...]) -> int:
    function(*arguments)
    tracemalloc.start()
    function(*arguments)
    return tracemalloc.get_traced_memory()[1]
