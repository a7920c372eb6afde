"""Counts of the work that a scheduler has done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from jlocal.llama.context import Context
from jlocal.llama.library import logger
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats

# Called with the numbers of texts and tokens of a batch, and the seconds that it took.
OnBatch = Callable[[int, int, float], None]


@dataclass(frozen=True)
class SchedulerStats:
    """Sums over all batches that a scheduler has computed, those of jobs included.

    Attributes:
        batches: how many.
        texts: sequences in them.
        tokens: tokens in them.
        seconds: time that llama.cpp took; batches that are computed side by side add up.

    """

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0


class BatchMeter:
    """Measures the batches of several contexts; thread-safe.

    Attributes:
        stats: of the batches so far.
        on_batch: called after each batch, in the thread that computed it, but never in two threads
            at once.

    """

    def __init__(self) -> None:
        self.stats = SchedulerStats()
        self.on_batch: OnBatch | None = None
        self._lock = Lock()

    def embed(
        self, context: Context, sequences: Sequence[Tokens], is_cancelled: Callable[[], bool]
    ) -> Floats:
        """Compute one batch with `context.embed`, and count it if that succeeds.

        The time that `is_cancelled` takes does not count: it may compute other batches.
        """
        others = 0.0

        def is_stopped() -> bool:
            nonlocal others
            start = time.perf_counter()
            stopped = is_cancelled()
            others += time.perf_counter() - start
            return stopped

        begin = time.perf_counter()
        vectors = context.embed(sequences, is_stopped)
        seconds = time.perf_counter() - begin - others
        self._add(len(sequences), sum(map(len, sequences)), seconds)
        return vectors

    def _add(self, texts: int, tokens: int, seconds: float) -> None:
        with self._lock:
            stats = self.stats
            self.stats = SchedulerStats(
                stats.batches + 1,
                stats.texts + texts,
                stats.tokens + tokens,
                stats.seconds + seconds,
            )
            if self.on_batch:
                try:
                    self.on_batch(texts, tokens, seconds)
                except Exception:  # it must not fail the texts of the batch
                    logger.exception("a callback for batches failed")
