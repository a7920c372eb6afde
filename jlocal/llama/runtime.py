"""A model and its context behind one thread: what the rest of jlocal sees of llama.cpp."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.llama.context import POOLING, Context, StoppedError, captures
from jlocal.llama.model import ComputeType, Model
from jlocal.llama.planning import plan_waves
from jlocal.llama.threads import default_threads
from jlocal.llama.tokenizer import Tokenizer, Tokens
from jlocal.models.profile import Profile
from jlocal.outputs.journal import Journal
from jlocal.terms import Argument

Floats = npt.NDArray[np.float32]

# Attention looks at every cell of a wave, also at other texts' (masked) ones, so that more tokens
# in a wave cost more a token; fewer fill the matrix products worse.
_TOKEN_BUDGET = 512


class Runtime:
    """Tokenises texts and embeds token sequences with one GGUF file; thread-safe.

    One thread of its own computes. The threads that call tokenise, and wait where Python can
    interrupt them; in the thread that computes, Ctrl-C would end up in the evaluation callback,
    from which no exception can reach the caller.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        threads: int | None,
        gpu_layers: int | None,
        compute_type: ComputeType,
        capture: bool | None,
        writable: bool = False,
    ) -> None:
        """Load the model.

        Args:
            profile: of the GGUF file.
            threads: CPU threads; None takes one for each physical core.
            gpu_layers: how many layers to put on a GPU; -1 for all, None for all if they fit.
            compute_type: as in `Model`.
            capture: True to capture hidden states, False to use llama.cpp's pooling, None to
                choose by the model.
            writable: as in `Model`.

        Raises:
            ModelError: the file cannot be loaded, or its vectors cannot be pooled.

        """
        fits = captures(profile)
        if capture and not fits:
            raise ModelError(f"{profile.path}: hidden states of this model cannot be captured")
        if profile.pooling not in POOLING:
            raise _no_pooling(profile)
        threads = threads or default_threads()
        self.model = model = Model(
            profile,
            threads=threads,
            gpu_layers=gpu_layers,
            compute_type=compute_type,
            writable=writable,
        )
        self.tokenizer = Tokenizer(model)
        self.compute_type = model.compute_type
        self._dimensions = model.dimensions
        self._context = Context(model, threads, fits if capture is None else capture)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="jlocal")
        self._closing = Event()
        self._process = os.getpid()

    def close(self) -> None:
        """Call off all work and free the context.

        The weights go when nobody refers to the runtime any more: another thread may be
        tokenising.
        """
        self._check_process()
        self._closing.set()
        self._worker.submit(self._context.close).result()
        self._worker.shutdown()

    def submit(self, sequences: Sequence[Tokens], journal: Journal | None = None) -> Job:
        """Begin to embed token sequences of any number and length up to the model's context.

        Args:
            sequences: non-empty arrays of token ids.
            journal: what need not be computed, because it was before.

        Raises:
            ModelError: the model is closed, or this process was forked from the one that
                loaded it.

        """
        self._check_process()
        return Job(self._context, self._worker, self._closing, sequences, self._dimensions, journal)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ModelError("a model cannot be used across fork; load it in the new process")


class Job:
    """Sequences on their way through the computing thread.

    The thread takes a wave, and queues the job again behind those of other callers.

    Attributes:
        recalled: positions of sequences whose vectors the journal had.

    """

    def __init__(
        self,
        context: Context,
        worker: ThreadPoolExecutor,
        closing: Event,
        sequences: Sequence[Tokens],
        dimensions: int,
        journal: Journal | None,
    ) -> None:
        self._context, self._worker, self._closing = context, worker, closing
        self._sequences, self._journal = sequences, journal
        self.recalled: set[int] = set()
        self._stop = Event()
        lengths = [len(sequence) for sequence in sequences]
        self._waves = deque(plan_waves(lengths, _TOKEN_BUDGET, context.sequence_limit))
        self._left = len(self._waves)
        self._done: SimpleQueue[list[int] | BaseException] = SimpleQueue()
        self._vectors = np.empty((len(sequences), dimensions), np.float32)
        if self._waves:
            self._queue()

    def result(self, on_wave: Callable[[int, int], None] | None = None) -> Floats:
        """Wait for the vectors; an exception meanwhile calls the work off.

        Args:
            on_wave: called with the texts and tokens of each wave when it is done.

        Returns:
            (n, d) float32 in the order of the sequences, not normalised; a row is not finite where
            the model overflows for that sequence.

        Raises:
            ModelError: llama.cpp cannot compute them, or the model was closed meanwhile.
            OutputError: the journal cannot be read or written.

        """
        try:
            for _ in range(self._left):
                wave = self._done.get()
                if isinstance(wave, BaseException):
                    raise wave
                if on_wave:
                    on_wave(len(wave), sum(len(self._sequences[position]) for position in wave))
        except BaseException:
            self.cancel()
            raise
        return self._vectors

    def cancel(self) -> None:
        """Call the work off; what is being computed ends with its piece."""
        self._stop.set()

    def _queue(self) -> None:
        try:
            self._worker.submit(self._step)
        except RuntimeError:  # the worker was shut down, or Python ends
            self._done.put(ModelError("the model is closed; make a new Embedder"))

    def _step(self) -> None:
        wave = self._waves.popleft()
        try:
            self._vectors[wave] = self._compute(wave)
        except StoppedError:
            self._done.put(ModelError("the model was closed before the vectors were ready"))
        except BaseException as error:
            self._done.put(error)
        else:
            self._done.put(wave)
            if self._waves:
                self._queue()

    def _compute(self, wave: list[int]) -> Floats:
        chosen = [self._sequences[position] for position in wave]
        if self._journal is None:
            return self._context.embed(chosen, self._called_off)
        vectors = self._journal.recall(chosen)
        if vectors is None or not np.isfinite(vectors).all():
            vectors = self._context.embed(chosen, self._called_off)
            if np.isfinite(vectors).all():
                self._journal.keep(chosen, vectors)
        else:
            self.recalled.update(wave)
        return vectors

    def _called_off(self) -> bool:
        return self._stop.is_set() or self._closing.is_set()


def _no_pooling(profile: Profile) -> ModelError:
    if profile.pooling == "rank":
        return ModelError(f"{profile.path} is a reranker, not an embedding model")
    pooling = Argument("pooling", "last")
    return ModelError(
        f"{profile.path} names no pooling: it is a generative model, or was converted without it; "
        f"for a last-token embedding model pass {pooling}",
        pooling,
    )
