"""A model and its context behind one thread: what the rest of jlocal sees of llama.cpp."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.llama.context import CAPTURED, Context
from jlocal.llama.model import Model
from jlocal.llama.planning import plan_waves
from jlocal.llama.threads import default_threads
from jlocal.llama.tokenizer import Tokens
from jlocal.models.profile import Profile

Floats = npt.NDArray[np.float32]

# Attention looks at every cell of a wave, also at other texts' (masked) ones, so that more tokens
# in a wave cost more a token; fewer fill the matrix products worse.
_TOKEN_BUDGET = 512


class Runtime:
    """Tokenises texts and embeds token sequences with one GGUF file; thread-safe.

    Everything is computed by one thread of its own. The threads that call wait for it where
    Python can interrupt them; in the thread that computes, Ctrl-C would end up in the evaluation
    callback, from which no exception can reach the caller.
    """

    def __init__(
        self, profile: Profile, *, threads: int | None, gpu_layers: int, capture: bool | None
    ) -> None:
        """Load the model.

        Args:
            profile: of the GGUF file.
            threads: CPU threads; None takes one for each physical core.
            gpu_layers: how many layers to put on a GPU; -1 for all.
            capture: True to capture hidden states, False to use llama.cpp's pooling, None to
                choose by the model.

        Raises:
            ModelError: the file cannot be loaded, or its vectors cannot be pooled.

        """
        fits = profile.architecture in CAPTURED and profile.causal and profile.pooling == "last"
        if capture and not fits:
            raise ModelError(f"{profile.path}: hidden states of this model cannot be captured")
        if profile.pooling not in ("last", "mean", "cls"):
            raise ModelError(_no_pooling(profile))
        self.captures = fits if capture is None else capture
        self._process = os.getpid()
        self.model = Model(profile, gpu_layers)
        self._context = Context(self.model, threads or default_threads(), self.captures)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="jlocal")

    def close(self) -> None:
        """Free everything; waits for work in progress."""
        self._check_process()
        self._worker.submit(self._context.close).result()
        self._worker.shutdown()
        self.model.close()

    def submit(self, sequences: Sequence[Tokens]) -> Job:
        """Begin to embed token sequences of any number and length up to the model's context.

        Args:
            sequences: non-empty arrays of token ids.

        Raises:
            ModelError: this process was forked from the one that loaded the model.

        """
        self._check_process()
        return Job(self._context, self._worker, sequences, self.model.dimensions)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ModelError("a model cannot be used across fork; load it in the new process")


class Job:
    """Sequences on their way through the computing thread."""

    def __init__(
        self,
        context: Context,
        worker: ThreadPoolExecutor,
        sequences: Sequence[Tokens],
        dimensions: int,
    ) -> None:
        self._shape = (len(sequences), dimensions)
        self._lengths = [len(sequence) for sequence in sequences]
        self._stop = Event()
        self._waves = list(plan_waves(self._lengths, _TOKEN_BUDGET, context.sequence_limit))
        self._futures = [
            worker.submit(context.embed, [sequences[position] for position in wave], self._stop)
            for wave in self._waves
        ]

    def result(self, on_wave: Callable[[int, int], None] | None = None) -> Floats:
        """Wait for the vectors; an exception meanwhile calls the work off.

        Args:
            on_wave: called with the texts and tokens of each wave when it is done.

        Returns:
            (n, d) float32 in the order of the sequences, not normalised.

        Raises:
            ModelError: llama.cpp cannot compute them.

        """
        vectors = np.empty(self._shape, np.float32)
        try:
            for wave, future in zip(self._waves, self._futures, strict=True):
                vectors[wave] = future.result()
                if on_wave:
                    on_wave(len(wave), sum(self._lengths[position] for position in wave))
        except BaseException:
            self.cancel()
            raise
        return vectors

    def cancel(self) -> None:
        """Call the work off, and wait until the thread has let go of it."""
        self._stop.set()
        wait([future for future in self._futures if not future.cancel()])


def _no_pooling(profile: Profile) -> str:
    if profile.pooling == "rank":
        return f"{profile.path} is a reranker, not an embedding model"
    return (
        f"{profile.path} names no pooling: it is a generative model, or was converted without it; "
        "for a last-token embedding model pass pooling='last' (--pooling last)"
    )
