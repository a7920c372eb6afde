"""The queue of the workers, in which batches of jobs and of single requests take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from jlocal.llama.job import Job, JobBatch
from jlocal.llama.planning import even_shares
from jlocal.llama.request_queue import RequestQueue
from jlocal.llama.requests import Request

# The work that a worker takes at a time.
Task = JobBatch | Sequence[Request]


class RunQueue:
    """Jobs and requests that wait; for one thread at a time.

    Requests and jobs alternate, and jobs take turns, one batch each. A batch of requests begins
    beside another only if it is full: otherwise its requests wait for those that come meanwhile,
    since a batch of many texts takes little longer than a batch of one. If workers would be idle
    beside a batch of several calls, it is shared out among them.
    """

    def __init__(self, requests: RequestQueue, least_share: int) -> None:
        """Take jobs from `add`, and requests from a queue that others fill.

        Args:
            requests: the single requests.
            least_share: the fewest tokens that are worth a batch of their own.

        """
        self._requests, self._least_share = requests, least_share
        self._shares: deque[list[Request]] = deque()
        self._jobs: deque[Job] = deque()
        self._is_jobs_turn = False
        self._running = 0  # batches of requests

    @property
    def shares(self) -> int:
        """How many shares of a batch wait for workers; they go before all else."""
        return len(self._shares)

    def __bool__(self) -> bool:
        """Tell whether any batch may begin."""
        return bool(self._shares) or any(job.waiting for job in self._jobs) or self._may_begin(None)

    def add(self, job: Job) -> None:
        """Add a job."""
        self._jobs.append(job)

    def short_batches(self) -> int:
        """Return how many batches may begin at once, without those of long sequences."""
        batches, budget = len(self._shares), self._requests.token_budget
        batches += sum(job.waiting for job in self._jobs if job.longest <= budget)
        if self._may_begin(budget):
            batches += max(1, self._requests.full_batches)
        return batches

    def take(self, longest: int | None = None, idle: int = 1) -> Task | None:
        """Take the next batch; `done` must follow.

        Args:
            longest: leave longer sequences in the queue; None takes sequences of any length.
            idle: how many workers compute nothing, with the one that takes the batch.

        """
        if self._shares:
            return self._shares.popleft()
        jobs = [job for job in self._jobs if job.waiting]
        if longest is not None:
            jobs = [job for job in jobs if job.longest <= longest]
        may_begin = self._may_begin(longest)
        if jobs and (self._is_jobs_turn or not may_begin):
            self._is_jobs_turn = False
            return min(jobs, key=lambda job: job.running).take()
        self._is_jobs_turn = True
        requests = self._requests.next_batch(longest) if may_begin else []
        if not requests:
            return None
        # Other work keeps the other workers busy.
        shares = self._share(requests, 1 if self else idle)
        self._running += len(shares)
        self._shares.extend(shares[1:])
        return shares[0]

    def _share(self, batch: list[Request], most: int) -> list[list[Request]]:
        """Share out a batch, unless it is of one call, whose vectors are always the same bits."""
        if len({id(request.call) for request in batch}) < 2:
            return [batch]
        lengths = [len(request.tokens) for request in batch]
        shares = even_shares(lengths, min(most, sum(lengths) // self._least_share))
        return [[batch[position] for position in share] for share in shares]

    def done(self, task: Task) -> None:
        """Count a batch as computed; its job goes to the end of the queue."""
        if not isinstance(task, JobBatch):
            self._running -= 1
            return
        job = task.job
        job.running -= 1
        if job in self._jobs:
            self._jobs.remove(job)
            if job.waiting:
                self._jobs.append(job)

    def drain(self) -> tuple[list[Request], list[Job]]:
        """Take all that waits, to fail it."""
        requests = [request for share in self._shares for request in share]
        requests, jobs = requests + self._requests.drain(), list(self._jobs)
        self._running -= len(self._shares)
        self._shares.clear()
        self._jobs.clear()
        return requests, jobs

    def _may_begin(self, longest: int | None) -> bool:
        """Tell whether a batch of requests may begin."""
        if self._running:
            return self._requests.full_batches > 0
        return len(self._requests) > 0 if longest is None else self._requests.short > 0


def lengths_of(task: Task) -> list[int]:
    """Return the tokens of each sequence of a batch, the longest first."""
    if isinstance(task, JobBatch):
        return task.lengths
    return [len(request.tokens) for request in task]
