"""Schedulers over contexts that wait for a test, and record their batches."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jlocal import Embedder, ModelError
from jlocal.llama.context import Context
from jlocal.llama.scheduler import Scheduler

DEADLINE = 60
BUDGET = 512  # of batches on a CPU


class GatedContext:
    """A context that computes when its gate is open, and records its batches."""

    def __init__(self, context: Context) -> None:
        self._context, self.token_budget = context, context.token_budget
        self.batches: list[list[bytes]] = []
        self.gate = threading.Event()
        self.impossible = b""

    def embed(
        self, sequences: Sequence[np.ndarray], is_cancelled: Callable[[], bool]
    ) -> np.ndarray:
        self.batches.append([sequence.tobytes() for sequence in sequences])
        assert self.gate.wait(DEADLINE)
        if self.impossible in self.batches[-1]:
            raise ModelError("llama.cpp cannot compute this")
        return self._context.embed(sequences, is_cancelled)

    def close(self) -> None:
        self._context.close()


class Bench:
    """An Embedder over a gated context."""

    def __init__(self, model: Embedder, context: GatedContext) -> None:
        self.model, self.context = model, context
        self.scheduler: Scheduler = model._model.runtime.scheduler

    def tokens(self, text: str) -> np.ndarray:
        return self.model.tokenize(text)

    def wait_for_batches(self, count: int) -> None:
        wait_until(lambda: len(self.context.batches) >= count)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@contextlib.contextmanager
def bench_of(file: Path, token_budget: int = BUDGET, *, passing: bool = False) -> Iterator[Bench]:
    """Load a model whose scheduler has a gated context, and perhaps one for passing requests."""
    with Embedder(file, threads=1) as model:
        runtime = model._model.runtime

        def context() -> Context:
            return Context(runtime.model, 1, capture=True, token_budget=token_budget)

        gated = GatedContext(context())
        runtime.scheduler.close()
        runtime.scheduler = Scheduler(runtime.model, gated, passing=context() if passing else None)
        yield Bench(model, gated)
        gated.gate.set()
