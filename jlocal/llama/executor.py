"""The work of a thread of the scheduler: it computes batches and hands out their vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from threading import Event

import numpy as np

from jlocal.errors import ModelError, TextError
from jlocal.llama.context import Context, StoppedError
from jlocal.llama.job import JobBatch
from jlocal.llama.model import Model
from jlocal.llama.request_queue import RequestQueue
from jlocal.llama.requests import Request
from jlocal.llama.stats import BatchMeter
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats

# F32 and BF16 among the file types of llama.h: their numbers reach as far as any here.
_WIDE_TYPES = frozenset({0, 32})


class BatchExecutor:
    """Computes one batch at a time; not thread-safe."""

    def __init__(
        self,
        model: Model,
        context: Context,
        passing: Context | None,
        queue: RequestQueue,
        meter: BatchMeter,
        closing: Event,
    ) -> None:
        """Take over the contexts.

        Args:
            model: the model of the contexts.
            context: computes the batches.
            passing: as in `Scheduler`.
            queue: requests that may pass between the pieces of a long sequence.
            meter: measures the batches.
            closing: set to stop the running batch.

        """
        self._model, self._context, self._passing, self._queue = model, context, passing, queue
        self._meter, self._closing = meter, closing

    def close(self) -> None:
        """Free the contexts."""
        self._context.close()
        if self._passing:
            self._passing.close()

    def compute(self, task: JobBatch | Sequence[Request]) -> None:
        """Compute a batch of a job, or of requests."""
        if not isinstance(task, JobBatch):
            self._compute_requests(task)
            return
        try:
            task.compute(self._embed)
        except StoppedError:
            task.job.fail(was_closed())
        except BaseException as error:
            task.job.fail(error)

    def _compute_requests(self, batch: Sequence[Request], context: Context | None = None) -> None:
        """Compute a batch of requests.

        Args:
            batch: taken from the queue.
            context: in place of the context of all batches.

        """

        def is_unwanted() -> bool:
            return all(request.is_unwanted for request in batch)

        try:
            vectors = self._embed([request.tokens for request in batch], is_unwanted, context)
        except StoppedError:
            for request in batch:
                closed = self._closing.is_set()
                request.set_exception(was_closed() if closed else CancelledError())
        except BaseException as error:
            if len(batch) == 1:
                batch[0].set_exception(error)
            else:  # find the request that llama.cpp cannot compute
                for request in batch:
                    self._compute_requests([request], context)
        else:
            for request, vector in zip(batch, vectors, strict=True):
                if np.isfinite(vector).all():
                    request.set_result(vector.copy())
                else:
                    request.set_exception(TextError(why_not_finite(self._model.profile.file_type)))

    def _embed(
        self,
        sequences: Sequence[Tokens],
        is_unwanted: Callable[[], bool],
        context: Context | None = None,
    ) -> Floats:
        def is_stopped() -> bool:
            return self._closing.is_set() or is_unwanted()

        def let_pass() -> bool:
            self._let_pass()
            return is_stopped()

        is_long = len(sequences[0]) > self._context.token_budget
        return self._meter.embed(
            context or self._context, sequences, let_pass if is_long else is_stopped
        )

    def _let_pass(self) -> None:
        """Compute a batch of requests between two pieces of a long sequence."""
        if self._passing:
            batch = self._queue.next_batch(self._queue.token_budget)
            if batch:
                self._compute_requests(batch, self._passing)


def why_not_finite(file_type: int | None) -> str:
    """Return the reason why a sequence has no finite vector, by the model's file type."""
    if file_type in _WIDE_TYPES:
        return (
            "has no vector: the model's numbers for it are not finite; download or convert the "
            "model again"
        )
    return (
        "has no vector: the model's numbers overflow for it; use the model in another type, such "
        "as BF16 or F32"
    )


def was_closed() -> ModelError:
    """Return the error of work that was closed before it was done."""
    return ModelError("the model was closed before the vectors were ready")
