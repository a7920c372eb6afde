"""The scheduler: one worker thread computes for all callers, in batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Condition, Lock

import numpy as np

from jlocal.errors import ModelError, TextError
from jlocal.llama.context import Context
from jlocal.llama.executor import BatchExecutor, was_closed
from jlocal.llama.job import Cache, Job
from jlocal.llama.model import Model
from jlocal.llama.request_queue import RequestQueue
from jlocal.llama.requests import Request, RequestGroup, check_tokens
from jlocal.llama.stats import OnBatch, SchedulerStats
from jlocal.llama.tokenizer import Tokens


class Scheduler:
    """Shares one context among callers; thread-safe.

    The worker computes one batch at a time. Callers wait where Python can interrupt them; in the
    worker, Ctrl-C would be raised inside llama.cpp's callback, from which no exception can reach
    the caller.

    When the worker becomes free, its next batch is taken from the single requests that wait, in
    the order of `RequestQueue`: the highest priority first, and callers in turn. Jobs take turns,
    one batch each. Requests and jobs alternate: a request waits for at most one batch of a job, and
    requests cannot delay a job for ever. A sequence above the budget of a batch is computed in
    pieces if the model allows it, and a batch of requests may pass between two pieces.

    Callbacks of futures run in the worker and must not wait for another vector.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        token_limit: int | None = None,
        passing: Context | None = None,
    ) -> None:
        """Take over the contexts.

        Args:
            model: the model of the contexts.
            context: from now on, only the scheduler uses and frees it.
            token_limit: the most tokens that may wait in single requests; None for no limit.
            passing: another context, for requests that pass between the pieces of a long sequence;
                None lets them wait.

        """
        self._model = model
        self._queue = RequestQueue(token_limit)
        self._executor = BatchExecutor(model, context, passing, self._queue)
        self._jobs: deque[Job] = deque()
        self._is_jobs_turn = False
        self._is_awake = False  # a step of the worker is queued, or runs
        self._lock = Lock()
        self._is_idle = Condition(self._lock)
        self._is_draining = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="jlocal")
        self._closing = self._executor.closing
        self._process = os.getpid()

    @property
    def token_limit(self) -> int | None:
        """The most tokens that may wait in single requests; None for no limit."""
        return self._queue.limit

    @token_limit.setter
    def token_limit(self, tokens: int | None) -> None:
        self._queue.limit = tokens

    @property
    def on_batch(self) -> OnBatch | None:
        """Called after each batch with its numbers of texts and tokens, and its seconds.

        It is called in the worker, before the vectors are handed out, and must be quick.
        """
        return self._executor.meter.on_batch

    @on_batch.setter
    def on_batch(self, callback: OnBatch | None) -> None:
        self._executor.meter.on_batch = callback

    @property
    def queued_requests(self) -> int:
        """How many single requests wait; neither cancelled nor running ones count."""
        return len(self._queue)

    @property
    def queued_tokens(self) -> int:
        """How many tokens wait in single requests."""
        return self._queue.tokens

    def stats(self) -> SchedulerStats:
        """Return what was computed so far."""
        return self._executor.meter.stats

    def submit(
        self, tokens: Sequence[int] | Tokens, *, caller: Hashable = None, priority: int = 0
    ) -> Request:
        """Begin to embed one sequence, in a batch with the requests of other callers.

        Args:
            tokens: token ids; they may come from outside.
            caller: whose request it is. Callers that wait take turns, and the requests of each
                begin in their order. All calls without one are of the same caller.
            priority: higher ones go first, in batches of their own, but leave a quarter of the
                tokens to lower ones that wait.

        Returns:
            A `concurrent.futures.Future` of its vector, (d,) float32, not normalised;
            `asyncio.wrap_future` takes it. It raises a `TextError` if the sequence is empty, too
            long, not of the vocabulary, or makes the model overflow, and a `ModelError` if
            llama.cpp cannot compute it or the model was closed.

        Raises:
            Overloaded: too many tokens wait already.
            ModelError: the model is closed or closing, or this process was forked from the one
                that loaded it.

        """
        self._check_process()
        limit = self._model.profile.context
        try:
            ids = check_tokens(tokens, limit, self._model.vocabulary)
        except TextError as error:
            request = Request(np.empty(0, np.int32))
            request.set_exception(error)
            return request
        request = Request(ids, caller, priority)
        self._enqueue([request])
        return request

    def submit_group(
        self, sequences: Sequence[Tokens], *, caller: Hashable = None, priority: int = 0
    ) -> RequestGroup:
        """Begin to embed the sequences of one call, in batches shared with other callers.

        Args:
            sequences: as in `submit_job`.
            caller: as in `submit`.
            priority: as in `submit`.

        Raises:
            Overloaded, ModelError: as in `submit`; no sequence is embedded then.

        """
        self._check_process()
        requests = [Request(tokens, caller, priority) for tokens in sequences]
        self._enqueue(requests)
        return RequestGroup(requests)

    def submit_job(self, sequences: Sequence[Tokens], cache: Cache | None = None) -> Job:
        """Begin to embed any number of sequences, in batches that depend on these alone.

        Args:
            sequences: non-empty arrays of token ids, up to the model's context.
            cache: returns the batches of an earlier run, and keeps those of this one.

        Raises:
            ModelError: the model is closed or closing, or this process was forked from the one
                that loaded it.

        """
        self._check_process()
        job = Job(sequences, self._model.dimensions, cache)
        with self._lock:
            self._check_open()
            if job.is_waiting:
                self._jobs.append(job)
                self._wake()
        return job

    def drain(self, timeout: float) -> bool:
        """Take no new work from now on, and wait until all work has ended.

        New work gets a `ModelError`, not `Overloaded`: trying again later does not help.

        Args:
            timeout: the most seconds to wait.

        Returns:
            Whether all work has ended; `close` fails the work that has not.

        Raises:
            ModelError: this process was forked from the one that loaded the model.

        """
        self._check_process()
        with self._lock:
            self._is_draining = True
            return self._is_idle.wait_for(lambda: not self._is_awake, timeout)

    def close(self) -> None:
        """Fail all waiting work, stop the running batch, and free the context. Idempotent.

        Raises:
            ModelError: this process was forked from the one that loaded the model.

        """
        self._check_process()
        self._closing.set()
        self._fail_waiting()
        try:
            self._worker.submit(self._executor.close).result()
        except RuntimeError:  # closed already, or Python is exiting: the worker has ended
            self._worker.shutdown()
            self._executor.close()
        finally:
            self._worker.shutdown()

    def _check_process(self) -> None:
        # Check before taking any lock: in a forked process, no thread may be left to release it.
        if os.getpid() != self._process:
            raise ModelError("a model cannot be used across fork; load it in the new process")

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise _is_closed()
        if self._is_draining:
            raise ModelError("the model is closing and takes no more texts")

    def _enqueue(self, requests: Sequence[Request]) -> None:
        with self._lock:
            self._check_open()
            self._queue.add(requests)
            self._wake()

    def _wake(self) -> None:
        if self._is_awake:
            return
        try:
            self._worker.submit(self._step)
        except RuntimeError:  # Python is exiting
            self._closing.set()
            raise _is_closed() from None
        self._is_awake = True

    def _step(self) -> None:
        """Compute one batch, and queue the next step if any work is left."""
        with self._lock:
            job = self._next_job()
        if job:
            self._executor.compute_job(job)
        elif batch := self._queue.next_batch():
            self._executor.compute(batch)
        with self._lock:
            if job and job.is_waiting:
                self._jobs.append(job)
            self._is_awake = False
            if self._jobs or self._queue:
                with suppress(ModelError):  # Python is exiting
                    self._wake()
            if not self._is_awake:
                self._is_idle.notify_all()
        if self._closing.is_set():
            self._fail_waiting()

    def _next_job(self) -> Job | None:
        if not self._jobs or (self._queue and not self._is_jobs_turn):
            self._is_jobs_turn = True
            return None
        self._is_jobs_turn = False
        return self._jobs.popleft()

    def _fail_waiting(self) -> None:
        with self._lock:
            requests, jobs = self._queue.drain(), list(self._jobs)
            self._jobs.clear()
        # Outside the lock: callbacks of futures may call the scheduler.
        for request in requests:
            request.set_exception(was_closed())
        for job in jobs:
            job.fail(was_closed())


def _is_closed() -> ModelError:
    return ModelError("the model is closed; make a new Embedder")
