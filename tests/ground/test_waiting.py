"""Waits: what they give back, and that Ctrl-C ends each of them."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, TimeoutError
from queue import SimpleQueue

import pytest

from jlocal.waiting import SLICE, next_of, result_of
from support.interrupts import interrupt_before_wait


def test_ctrl_c_ends_the_wait_for_a_future() -> None:
    future: Future[None] = Future()
    with interrupt_before_wait(lambda: future.set_result(None)):
        result_of(future)


def test_ctrl_c_ends_the_wait_for_an_item() -> None:
    queue: SimpleQueue[None] = SimpleQueue()
    with interrupt_before_wait(lambda: queue.put(None)):
        next_of(queue)


def test_a_wait_goes_on_for_many_slices() -> None:
    future, queue = Future[int](), SimpleQueue[int]()
    threading.Timer(1.5 * SLICE, lambda: (future.set_result(1), queue.put(2))).start()
    assert result_of(future) == 1
    assert next_of(queue) == 2


@pytest.mark.parametrize("error", [TimeoutError(), OSError(), KeyboardInterrupt()])
def test_the_exception_of_a_future_is_raised(error: BaseException) -> None:
    """A timeout of the work is not one of the wait."""
    future: Future[None] = Future()
    threading.Timer(0.05, lambda: future.set_exception(error)).start()
    with pytest.raises(type(error)) as caught:
        result_of(future)
    assert caught.value is error


def test_a_cancelled_future_is_told() -> None:
    future: Future[None] = Future()
    threading.Timer(0.05, future.cancel).start()
    with pytest.raises(CancelledError):
        result_of(future)
