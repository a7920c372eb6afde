"""A job: many sequences in batches planned beforehand, so that a later run can resume it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Protocol

import numpy as np

from jlocal.llama.planning import SEQUENCE_LIMIT, plan_batches
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats
from jlocal.waiting import next_of

# Computes a batch, as `Context.embed` does.
Embed = Callable[[Sequence[Tokens], Callable[[], bool]], Floats]


class Cache(Protocol):
    """Keeps the vectors of whole batches, since their last digits depend on the whole batch.

    Thread-safe: several batches may be computed at a time.
    """

    def recall(self, sequences: Sequence[Tokens]) -> Floats | None:
        """Return the vectors (n, d) of a batch of n sequences; None where they were not kept."""

    def keep(self, sequences: Sequence[Tokens], vectors: Floats) -> None:
        """Keep the vectors (n, d) of a batch."""


class Job:
    """The sequences of one caller on their way through the scheduler.

    Their batches depend only on their lengths: the same sequences get the same bits.

    Attributes:
        recalled: positions of sequences whose vectors the cache had.
        running: how many of its batches are being computed.

    """

    def __init__(
        self, sequences: Sequence[Tokens], dimensions: int, token_budget: int, cache: Cache | None
    ) -> None:
        self._sequences, self._cache = sequences, cache
        self.recalled: set[int] = set()
        self.running = 0
        self._cancelled, self._failed = Event(), Event()
        lengths = [len(sequence) for sequence in sequences]
        self._batches = deque(plan_batches(lengths, token_budget, SEQUENCE_LIMIT))
        self._unfinished = len(self._batches)
        self._finished: SimpleQueue[list[int] | BaseException] = SimpleQueue()
        self._vectors = np.empty((len(sequences), dimensions), np.float32)

    def result(self, on_batch: Callable[[int, int], None] | None = None) -> Floats:
        """Wait for the vectors; an exception while waiting cancels the job.

        Args:
            on_batch: called with the number of texts and of tokens of each finished batch.

        Returns:
            (n, d) float32 in the order of the sequences, not normalised; a row is not finite where
            the model overflows for that sequence.

        Raises:
            ModelError: llama.cpp cannot compute the vectors, or the model was closed meanwhile.
            OutputError: the cache cannot be read or written.

        """
        try:
            for _ in range(self._unfinished):
                batch = next_of(self._finished)
                if isinstance(batch, BaseException):
                    raise batch
                if on_batch:
                    on_batch(len(batch), sum(len(self._sequences[position]) for position in batch))
        except BaseException:
            self.cancel()
            raise
        return self._vectors

    def cancel(self) -> None:
        """Cancel the batches that are not computed yet; a running batch stops early."""
        self._cancelled.set()

    @property
    def waiting(self) -> int:
        """How many batches nobody has begun to compute."""
        return 0 if self._failed.is_set() else len(self._batches)

    @property
    def longest(self) -> int:
        """The most tokens of any sequence that waits."""
        return len(self._sequences[self._batches[0][0]]) if self._batches else 0

    def take(self) -> JobBatch:
        """Take its next batch; for one thread at a time."""
        self.running += 1
        positions = self._batches.popleft()
        return JobBatch(self, positions, [len(self._sequences[position]) for position in positions])

    def fail(self, error: BaseException) -> None:
        """Make `result` raise an error, and stop the batches that are being computed."""
        self._finished.put(error)
        self._failed.set()
        self._cancelled.set()

    def compute(self, positions: list[int], embed: Embed) -> None:
        """Compute a batch that was taken; thread-safe.

        Raises:
            StoppedError: the job was cancelled or has failed, or `embed` was stopped.
            ModelError: llama.cpp cannot compute the batch.
            OutputError: the cache cannot be read or written.

        """
        sequences = [self._sequences[position] for position in positions]
        vectors = None if self._cache is None else self._cache.recall(sequences)
        if vectors is None or not np.isfinite(vectors).all():
            vectors = embed(sequences, self._cancelled.is_set)
            if self._cache is not None and np.isfinite(vectors).all():
                self._cache.keep(sequences, vectors)
        else:
            self.recalled.update(positions)
        self._vectors[positions] = vectors
        self._finished.put(positions)


@dataclass(frozen=True)
class JobBatch:
    """A batch of a job, to be computed.

    Attributes:
        positions: of its sequences in the job.
        lengths: the tokens of each sequence.

    """

    job: Job
    positions: list[int]
    lengths: list[int]

    def compute(self, embed: Embed) -> None:
        """Compute it; see `Job.compute`."""
        self.job.compute(self.positions, embed)
