"""What a scheduler has computed so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
        seconds: time that llama.cpp took.

    """

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0


class BatchMeter:
    """Measures the batches that contexts compute in one thread.

    Attributes:
        stats: of the batches so far; may be read in any thread.
        on_batch: called after each batch.

    """

    def __init__(self) -> None:
        self.stats = SchedulerStats()
        self.on_batch: OnBatch | None = None

    def embed(
        self, context: Context, sequences: Sequence[Tokens], is_cancelled: Callable[[], bool]
    ) -> Floats:
        """Compute one batch with `context.embed`, and count it if that succeeds.

        The time of a batch that `is_cancelled` computes meanwhile counts for that batch alone.
        """
        before, begin = self.stats.seconds, time.perf_counter()
        vectors = context.embed(sequences, is_cancelled)
        seconds = time.perf_counter() - begin - (self.stats.seconds - before)
        stats, tokens = self.stats, sum(map(len, sequences))
        self.stats = SchedulerStats(
            stats.batches + 1,
            stats.texts + len(sequences),
            stats.tokens + tokens,
            stats.seconds + seconds,
        )
        if self.on_batch:
            try:
                self.on_batch(len(sequences), tokens, seconds)
            except Exception:  # it must not fail the texts of the batch
                logger.exception("a callback for batches failed")
        return vectors
