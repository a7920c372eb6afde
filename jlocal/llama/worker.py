"""A thread of the scheduler, with its executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from jlocal.llama.executor import BatchExecutor


class Worker:
    """A thread that lives from its first step until it is closed.

    The same thread computes with the same contexts, since GNU OpenMP keeps a team of threads for
    each thread that starts one.

    Attributes:
        executor: computes on this thread alone; None where the scheduler's executor does.
        is_awake: whether a step is queued, or runs; its owner sets it back.
        is_computing: whether it computes a batch; its owner sets it.

    """

    def __init__(self, executor: BatchExecutor | None) -> None:
        self.executor = executor
        self.is_awake = self.is_computing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jlocal")

    def wake(self, step: Callable[[Worker], None]) -> None:
        """Have the thread call `step` with this worker.

        Raises:
            RuntimeError: it was closed, or Python is exiting.

        """
        self._thread.submit(step, self)
        self.is_awake = True

    def close(self) -> None:
        """Wait for the thread to end, and free the context. Idempotent."""
        self._thread.shutdown()
        if self.executor:
            self.executor.close()
