"""A job: many sequences in batches planned beforehand, so that a later run can resume it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Event
from typing import Protocol

import numpy as np

from jlocal.llama.planning import SEQUENCE_LIMIT, TOKEN_BUDGET, plan_batches
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats
from jlocal.waiting import next_of

# Computes a batch, as `Context.embed` does.
Embed = Callable[[Sequence[Tokens], Callable[[], bool]], Floats]


class Cache(Protocol):
    """Keeps the vectors of whole batches, since their last digits depend on the whole batch."""

    def recall(self, sequences: Sequence[Tokens]) -> Floats | None:
        """Return the vectors (n, d) of a batch of n sequences; None where they were not kept."""

    def keep(self, sequences: Sequence[Tokens], vectors: Floats) -> None:
        """Keep the vectors (n, d) of a batch."""


class Job:
    """The sequences of one caller on their way through the scheduler.

    Their batches depend only on their lengths: the same sequences get the same bits.

    Attributes:
        recalled: positions of sequences whose vectors the cache had.

    """

    def __init__(self, sequences: Sequence[Tokens], dimensions: int, cache: Cache | None) -> None:
        self._sequences, self._cache = sequences, cache
        self.recalled: set[int] = set()
        self._cancelled = Event()
        lengths = [len(sequence) for sequence in sequences]
        self._batches = deque(plan_batches(lengths, TOKEN_BUDGET, SEQUENCE_LIMIT))
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
    def is_waiting(self) -> bool:
        """Whether there are batches left to compute."""
        return bool(self._batches) and not self._cancelled.is_set()

    def fail(self, error: BaseException) -> None:
        """Make `result` raise an error."""
        self._batches.clear()
        self._finished.put(error)

    def compute_next(self, embed: Embed) -> None:
        """Compute one batch.

        Raises:
            StoppedError: the job was cancelled, or `embed` was stopped.
            ModelError: llama.cpp cannot compute the batch.
            OutputError: the cache cannot be read or written.

        """
        batch = self._batches.popleft()
        sequences = [self._sequences[position] for position in batch]
        vectors = None if self._cache is None else self._cache.recall(sequences)
        if vectors is None or not np.isfinite(vectors).all():
            vectors = embed(sequences, self._cancelled.is_set)
            if self._cache is not None and np.isfinite(vectors).all():
                self._cache.keep(sequences, vectors)
        else:
            self.recalled.update(batch)
        self._vectors[batch] = vectors
        self._finished.put(batch)
