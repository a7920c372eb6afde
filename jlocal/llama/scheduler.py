"""The scheduler: worker threads compute for all callers, in batches."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Condition, Event, Lock

import numpy as np

from jlocal.errors import ModelError, TextError
from jlocal.llama.context import Context
from jlocal.llama.executor import BatchExecutor, was_closed
from jlocal.llama.job import Cache, Job
from jlocal.llama.model import Model
from jlocal.llama.request_queue import RequestQueue
from jlocal.llama.requests import Request, RequestGroup, check_tokens
from jlocal.llama.run_queue import RunQueue, Task, lengths_of
from jlocal.llama.stats import BatchMeter, OnBatch, SchedulerStats
from jlocal.llama.tokenizer import Tokens
from jlocal.llama.worker import Worker

# Seconds in which a thread that is about to submit gets its turn, and the most turns for a batch.
_TURN = 0.0001
_MOST_TURNS = 20


class Scheduler:
    """Shares the contexts of a model among callers; thread-safe.

    Callers wait where Python can interrupt them; in a worker, Ctrl-C would be raised inside
    llama.cpp's callback, from which no exception can reach the caller.

    A free worker takes the next batch of `RunQueue`: of a job, or of the single requests that wait,
    in the order of `RequestQueue`: the highest priority first, and callers in turn. A request waits
    for at most one batch of a job, and requests cannot delay a job for ever. A sequence above the
    budget of a batch is computed in pieces if the model allows it, and a batch of requests may pass
    between two pieces.

    The first worker computes a lone batch with all threads. If batches for all workers wait, each
    computes one, on one thread. A batch of several calls is shared out among idle workers.

    Callbacks of futures run in a worker and must not wait for another vector.

    Attributes:
        token_budget: the most tokens of a batch of several sequences, that of the contexts.

    """

    def __init__(
        self,
        model: Model,
        context: Context,
        token_limit: int | None = None,
        passing: Context | None = None,
        singles: Sequence[Context] = (),
        lone_tokens: int = 0,
        least_share: int = 1,
    ) -> None:
        """Take over the contexts.

        Args:
            model: the model of the contexts.
            context: computes with all threads; batches have its budget, as all other contexts do.
                From now on, only the scheduler uses and frees it.
            token_limit: the most tokens that may wait in single requests; None for no limit.
            passing: another context, for requests that pass between the pieces of a long sequence;
                None lets them wait.
            singles: contexts that compute batches side by side, on one thread each.
            lone_tokens: how many tokens a lone batch may have to be computed on one thread as well.
            least_share: the fewest tokens for which a batch is shared out among idle workers.

        """
        self._model, self.token_budget = model, context.token_budget
        self._requests = RequestQueue(self.token_budget, token_limit)
        self._queue = RunQueue(self._requests, least_share)
        self._meter, self._closing = BatchMeter(), Event()

        def executor(context: Context, passing: Context | None = None) -> BatchExecutor:
            return BatchExecutor(
                model, context, passing, self._requests, self._meter, self._closing
            )

        self._executor = executor(context, passing)
        self._workers = [Worker(executor(single)) for single in singles] or [Worker(None)]
        self._lone_tokens = lone_tokens
        self._uses_all_threads = False
        self._lock = Lock()
        self._is_idle = Condition(self._lock)
        self._is_draining = False
        self._preparing = 0
        self._process = os.getpid()

    @property
    def token_limit(self) -> int | None:
        """The most tokens that may wait in single requests; None for no limit."""
        return self._requests.limit

    @token_limit.setter
    def token_limit(self, tokens: int | None) -> None:
        self._requests.limit = tokens

    @property
    def on_batch(self) -> OnBatch | None:
        """Called after each batch with its numbers of texts and tokens, and its seconds.

        It is called in the thread that has computed the batch, but never in two at once, before the
        vectors are handed out, and must be quick.
        """
        return self._meter.on_batch

    @on_batch.setter
    def on_batch(self, callback: OnBatch | None) -> None:
        self._meter.on_batch = callback

    @property
    def queued_requests(self) -> int:
        """How many single requests wait; neither cancelled nor running ones count."""
        return len(self._requests)

    @property
    def queued_tokens(self) -> int:
        """How many tokens wait in single requests."""
        return self._requests.tokens

    def stats(self) -> SchedulerStats:
        """Return the vectors that were computed so far."""
        return self._meter.stats

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Announce requests that will be submitted after this, so that batches wait for them.

        They wait for 2 ms at most.
        """
        with self._lock:
            self._preparing += 1
        try:
            yield
        finally:
            with self._lock:
                self._preparing -= 1

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
        call = object()
        requests = [Request(tokens, caller, priority, call) for tokens in sequences]
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
        job = Job(sequences, self._model.dimensions, self.token_budget, cache)
        with self._lock:
            self._check_open()
            if job.waiting:
                self._queue.add(job)
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
            return self._is_idle.wait_for(self._all_sleep, timeout)

    def close(self) -> None:
        """Fail all waiting work, stop the running batches, and free the contexts. Idempotent.

        Raises:
            ModelError: this process was forked from the one that loaded the model.

        """
        self._check_process()
        self._closing.set()
        self._fail_waiting()
        for worker in self._workers:
            worker.close()
        self._executor.close()

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
            self._requests.add(requests)
            self._wake()

    def _all_sleep(self) -> bool:
        return not any(worker.is_awake for worker in self._workers)

    def _wake(self) -> None:
        """Wake all workers if there is a batch for each that sleeps; else only the first.

        A batch that was shared out wakes a worker for each share.
        """
        if self._uses_all_threads:
            return
        asleep = [worker for worker in self._workers if not worker.is_awake]
        if self._queue.shares:
            asleep = asleep[: self._queue.shares]
        elif len(asleep) > self._queue.short_batches():
            first = self._workers[0]
            asleep = [first] if self._queue and not first.is_awake else []
        for worker in asleep:
            try:
                worker.wake(self._step)
            except RuntimeError:  # Python is exiting
                self._closing.set()
                raise _is_closed() from None

    def _step(self, worker: Worker) -> None:
        """Compute one batch in a worker, and wake those for which any work is left."""
        self._gather()
        with self._lock:
            is_first = worker is self._workers[0]
            idle = sum(not other.is_computing for other in self._workers)
            idle = 1 if self._uses_all_threads else idle
            task = self._queue.take(None if is_first else self.token_budget, idle)
            worker.is_computing = task is not None
            executor = worker.executor
            if self._queue.shares:
                with suppress(ModelError):  # Python is exiting
                    self._wake()
            if task and (executor is None or (is_first and self._needs_all_threads(task))):
                executor, self._uses_all_threads = self._executor, True
        try:
            if task and executor:
                executor.compute(task)
        finally:
            self._end_step(worker, task, executor)

    def _gather(self) -> None:
        """Wait for the requests of threads that prepare some, until they fill a batch.

        Threads that call at once submit one after the other, since Python runs one at a time. A
        lone request does not wait.
        """
        before, waiting = 1, len(self._requests)
        for _ in range(_MOST_TURNS):
            if self._requests.full_batches or (before >= waiting and not self._preparing):
                return
            time.sleep(_TURN)
            before, waiting = waiting, len(self._requests)

    def _end_step(self, worker: Worker, task: Task | None, executor: BatchExecutor | None) -> None:
        with self._lock:
            if task:
                self._queue.done(task)
            worker.is_awake = worker.is_computing = False
            if executor is self._executor:
                self._uses_all_threads = False
            with suppress(ModelError):  # Python is exiting
                self._wake()
            if self._all_sleep():
                self._is_idle.notify_all()
        if self._closing.is_set():
            self._fail_waiting()

    def _needs_all_threads(self, task: Task) -> bool:
        """Tell whether the first worker should compute a batch with all threads."""
        lengths = lengths_of(task)
        if lengths[0] > self.token_budget:
            return True
        others_sleep = not any(worker.is_awake for worker in self._workers[1:])
        return others_sleep and sum(lengths) > self._lone_tokens

    def _fail_waiting(self) -> None:
        with self._lock:
            requests, jobs = self._queue.drain()
        # Outside the lock: callbacks of futures may call the scheduler.
        for request in requests:
            request.set_exception(was_closed())
        for job in jobs:
            job.fail(was_closed())


def _is_closed() -> ModelError:
    return ModelError("the model is closed; make a new Embedder")
