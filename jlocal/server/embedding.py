"""Texts of one request to vectors, in batches that all requests share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jlocal.embed.embedder import Embedder
from jlocal.embed.prepare import Preparer, Truncation
from jlocal.errors import TextError
from jlocal.llama.requests import check_tokens
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats, Vectors, finish

# Tokenising fewer characters takes less time than handing them to another thread.
_INLINE = 4096
_QUERY_PRIORITY = 1
# Longer sequences are refused, or truncated, as texts are.
_ANY_LENGTH = 1 << 31


@dataclass(frozen=True)
class Work:
    """The work of a model for one request.

    Attributes:
        inputs: texts, or sequences of token ids, which get no prompt.
        prompt: the prefix of each text.
        truncation: the side on which a text that is too long loses tokens; None is an error.
        dimensions: how many leading components will be kept.
        is_query: whether it goes before documents.

    """

    inputs: Sequence[str | Sequence[int]]
    prompt: str
    truncation: Truncation | None
    dimensions: int
    is_query: bool


@dataclass(frozen=True)
class Embedded:
    """The vectors of one request.

    Attributes:
        vectors: (n, d) float32 as pooled, of full length and not normalised.
        tokens: how many tokens each input has, after truncation.
        truncated: how many inputs were truncated.
        characters: how many characters the texts have.
        tokenization: seconds spent on tokens.
        waiting: seconds from there until the first input was taken for a batch.
        computation: seconds from there to the last vector.
        device: where the vectors were computed: "cpu" or "gpu".

    """

    vectors: Floats
    tokens: list[int]
    truncated: int
    characters: int
    tokenization: float
    waiting: float
    computation: float
    device: str

    def finished(self, dimensions: int | None = None, precision: str = "float32") -> Vectors:
        """Truncate, normalise and quantise the vectors, as `jlocal.vectors.finish` does."""
        return finish(self.vectors, dimensions, precision)

    def pooled(self, dimensions: int | None = None) -> Floats:
        """Truncate the vectors, (n, dimensions) float32; None keeps all components."""
        return np.ascontiguousarray(self.vectors[:, :dimensions])


async def embed(embedder: Embedder, work: Work) -> Embedded:
    """Embed the inputs of a request; cancelling this drops the work that waits.

    Raises:
        TextError: an input cannot be embedded; the first one is named.
        Overloaded: too many tokens wait already.
        ModelError: the model is closed, or llama.cpp cannot compute the inputs.

    """
    start = time.perf_counter()
    preparer = embedder.preparer(work.prompt, work.truncation)
    characters = sum(len(text) for text in work.inputs if isinstance(text, str))
    if characters <= _INLINE and len(work.inputs) <= _INLINE:
        sequences, truncated = _sequences(preparer, work.inputs)
    else:
        sequences, truncated = await asyncio.to_thread(_sequences, preparer, work.inputs)
    tokenized = time.perf_counter()
    vectors, started = await _vectors(preparer, sequences, work)
    return Embedded(
        vectors,
        [len(tokens) for tokens in sequences],
        truncated,
        characters,
        tokenized - start,
        started - tokenized,
        time.perf_counter() - started,
        preparer.runtime.model.device,
    )


def _sequences(
    preparer: Preparer, inputs: Sequence[str | Sequence[int]]
) -> tuple[list[Tokens], int]:
    sequences, truncated = [], 0
    for index, value in enumerate(inputs):
        tokens, cut = preparer.fit(index, _tokens(preparer, index, value))
        sequences.append(tokens)
        truncated += cut is not None
    return sequences, truncated


def _tokens(preparer: Preparer, index: int, value: str | Sequence[int]) -> Tokens:
    if isinstance(value, str):
        return preparer.tokens(index, value)
    try:
        return check_tokens(value, _ANY_LENGTH, preparer.runtime.model.vocabulary)
    except TextError as error:
        raise error.at(index) from None


async def _vectors(preparer: Preparer, sequences: list[Tokens], work: Work) -> tuple[Floats, float]:
    """Return the vectors, and when the first input was taken for a batch."""
    unique = {tokens.tobytes(): tokens for tokens in sequences}
    group = preparer.runtime.scheduler.submit_group(
        [*unique.values()], caller=object(), priority=_QUERY_PRIORITY if work.is_query else 0
    )
    # Cancelling this waiting cancels the group.
    computed = await asyncio.wrap_future(group.future())
    results = dict(zip(unique, computed, strict=True))
    vectors = np.empty((len(sequences), preparer.runtime.model.dimensions), np.float32)
    for index, tokens in enumerate(sequences):
        result = results[tokens.tobytes()]
        if isinstance(result, TextError):
            raise result.at(index)
        if fault := preparer.fault(result, work.dimensions):
            raise fault.at(index)
        vectors[index] = result
    started = [request.started for request in group.requests if request.started is not None]
    return vectors, min(started)
