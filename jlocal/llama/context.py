"""A llama.cpp context that turns batches of token sequences into vectors; it knows no text.

Two modes give the same last-token vectors. Pooled mode is llama.cpp's own: it marks every token as
an output, and a decoder's graph then multiplies each token's hidden state by the vocabulary matrix,
for logits that nobody reads. Capture mode marks only the last token of each sequence, reads the
hidden states before that product through the scheduler's evaluation callback, and stops the graph
there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import numpy as np

from jlocal.errors import ModelError
from jlocal.llama.batch import Batch
from jlocal.llama.capture import new_capture
from jlocal.llama.library import api
from jlocal.llama.model import Model
from jlocal.llama.planning import SEQUENCE_LIMIT
from jlocal.llama.tokenizer import Tokens
from jlocal.models.profile import Profile
from jlocal.vectors import Floats

# Architectures whose graph ends in `result_norm` and then the vocabulary head.
CAPTURED = frozenset({"qwen3"})

# llama.cpp's pooling types by their names in a profile.
POOLING = {
    "mean": api.LLAMA_POOLING_TYPE_MEAN,
    "cls": api.LLAMA_POOLING_TYPE_CLS,
    "last": api.LLAMA_POOLING_TYPE_LAST,
}

_CELLS = 256  # llama.cpp rounds a context up to this


def captures(profile: Profile) -> bool:
    """Tell whether the hidden states of a model can be captured."""
    return profile.architecture in CAPTURED and takes_pieces(profile)


def takes_pieces(profile: Profile) -> bool:
    """Tell whether a model can compute a sequence in pieces.

    Only a causal model with last-token pooling can; any other needs each sequence in one ubatch.
    """
    return profile.causal and profile.pooling == "last"


class StoppedError(Exception):
    """The work was cancelled between two pieces of a batch."""


class Context:
    """Computes batches of sequences; grows with the largest batch; not thread-safe.

    Attributes:
        token_budget: as in `jlocal.llama.planning`: the tokens that llama.cpp computes at once.

    """

    def __init__(self, model: Model, threads: int, capture: bool, token_budget: int) -> None:
        self._model, self._threads, self.token_budget = model, threads, token_budget
        self._handle: int | None = None
        self._free: weakref.finalize[..., Context] | None = None
        self._capacity = 0
        self._capture = new_capture(model.dimensions, SEQUENCE_LIMIT) if capture else None
        self._whole = not takes_pieces(model.profile)

    def close(self) -> None:
        """Free the context."""
        if self._free:
            self._free()
        self._capacity = 0

    def embed(self, sequences: Sequence[Tokens], is_cancelled: Callable[[], bool]) -> Floats:
        """Compute one batch.

        Values that are not finite can spread from one sequence to the rest of its batch, because
        attention multiplies masked values by zero. Such sequences are computed again, each alone.

        Args:
            sequences: at most `SEQUENCE_LIMIT` non-empty arrays of token ids.
            is_cancelled: asked before each piece of the batch whether to stop; it may compute
                batches with other contexts of the model.

        Returns:
            (n, d) float32, as pooled, not normalised; where a row is not finite, its own sequence
            is the cause.

        Raises:
            ModelError: llama.cpp cannot compute the batch, for lack of memory for example.
            StoppedError: the batch was cancelled.

        """
        vectors = self._compute(sequences, is_cancelled)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
        if bad:
            for number in bad if len(sequences) > 1 else ():
                self._clear(data=True)
                vectors[number] = self._compute([sequences[number]], is_cancelled)[0]
            self._clear(data=True)
        return vectors

    def _compute(self, sequences: Sequence[Tokens], is_cancelled: Callable[[], bool]) -> Floats:
        self._grow(sum(map(len, sequences)))
        if self._capture:
            self._capture.forget()
        rows: list[Floats] = []
        self._clear()
        for outputs in self._batch.fill(sequences, every_output=self._capture is None):
            if is_cancelled():
                raise StoppedError
            self._model.check_decoded(api.llama_decode(self._handle, self._batch.raw))
            if self._capture:
                rows.append(self._capture.take(outputs))
        return np.concatenate(rows) if self._capture else self._pooled(len(sequences))

    def _clear(self, *, data: bool = False) -> None:
        """Forget the tokens of the last batch, and zero the memory that held them."""
        memory = api.llama_get_memory(self._handle)
        if memory:
            api.llama_memory_clear(memory, data)

    def _pooled(self, count: int) -> Floats:
        vectors = np.empty((count, self._model.dimensions), np.float32)
        for number in range(count):
            pointer = api.llama_get_embeddings_seq(self._handle, number)
            if not pointer:
                raise ModelError(
                    f"llama.cpp gave no vector: {self._model.profile.path} may not pool",
                    path=self._model.profile.path,
                )
            vectors[number] = np.ctypeslib.as_array(pointer, (self._model.dimensions,))
        return vectors

    def _grow(self, tokens: int) -> None:
        if tokens <= self._capacity:
            return
        self.close()
        limit = _round_up(self._model.profile.context)
        capacity = max(self.token_budget, min(limit, 1 << (tokens - 1).bit_length()))
        params = api.llama_context_default_params()
        params.n_ctx = max(capacity, _round_up(tokens))
        params.n_batch = params.n_ubatch = params.n_ctx if self._whole else self.token_budget
        params.n_seq_max = SEQUENCE_LIMIT
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = self._threads
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.embeddings = self._capture is None
        if self._capture:
            params.n_outputs_max = SEQUENCE_LIMIT
            params.cb_eval = self._capture.callback
            params.cb_eval_user_data = self._capture.user_data
        else:
            params.pooling_type = POOLING[self._model.profile.pooling]
        self._handle = self._model.new_context(params, capture=self._capture is not None)
        # The model and the callback must outlive the context, also when nobody closes it.
        self._free = weakref.finalize(self, _free, self._handle, self._model, self._capture)
        self._capacity = params.n_ctx
        self._batch = Batch(params.n_batch)


def _free(handle: int, *_used_until_now: object) -> None:
    api.llama_free(handle)


def _round_up(tokens: int) -> int:
    return -(-tokens // _CELLS) * _CELLS
