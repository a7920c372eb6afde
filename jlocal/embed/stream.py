"""A stream of texts in windows: one is computed while the next is tokenised; in input order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jlocal.arguments import no_text
from jlocal.caller import warn
from jlocal.errors import TextError, TextTooLongError, TruncationWarning
from jlocal.llama.job import Job
from jlocal.llama.planning import fits_one_batch
from jlocal.llama.requests import RequestGroup
from jlocal.llama.runtime import Runtime
from jlocal.llama.scheduler import Scheduler, why_not_finite
from jlocal.llama.tokenizer import Tokens
from jlocal.outputs.journal import Journal
from jlocal.progress import OnTexts
from jlocal.vectors import Floats

OnTruncated = Callable[[TruncationWarning], None]

# Enough texts to batch each with texts of similar length, few enough that memory does not grow with
# the input. The first windows are small, so that the first vectors come soon.
_FIRST_WINDOW = 64
_WINDOW_TEXTS = 2048
_WINDOW_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class TextStream:
    """Turns texts into full-length vectors.

    Attributes:
        runtime: an open model.
        prompt: the prefix of each text.
        limit: the most tokens in one text.
        dimensions: how many leading components of a vector will be kept.
        truncate: whether a longer text is truncated, or is an error.
        errors: whether the `TextError` of an unusable text is raised, or replaces its vector.
        on_truncated: called for each truncated text, in place of a warning.
        journal: the vectors of an earlier run, which keeps those of this run.

    """

    runtime: Runtime
    prompt: str
    limit: int
    dimensions: int
    truncate: bool
    errors: Literal["raise", "return"]
    on_truncated: OnTruncated | None
    journal: Journal | None = None

    def windows(
        self, texts: Iterable[str], on_texts: OnTexts | None, *, shared: bool = False
    ) -> Generator[list[Floats | TextError], None, None]:
        """Yield the vectors, or errors, of each window, in the order of the texts.

        Windows that were begun before a bad text are still yielded before its error is raised.

        Args:
            texts: read a window at a time.
            on_texts: called with the numbers of texts and tokens done since its last call.
            shared: compute a window that fits into one batch together with the requests of other
                threads, on which the last digits of its vectors then depend.

        Raises:
            TextError: a text cannot be embedded.
            ModelError: llama.cpp cannot compute the texts.
            OutputError: the journal cannot be read or written.
            Overloaded: too many tokens wait already; only where windows are shared.

        """
        begun: deque[_Window] = deque()
        failure: Exception | None = None
        windows = self._begin(texts, shared)
        try:
            while True:
                try:
                    begun.append(next(windows))
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                if len(begun) > 1:
                    yield self._finished(begun.popleft(), on_texts)
            while begun:
                yield self._finished(begun.popleft(), on_texts)
        finally:
            for left in begun:
                left.work.cancel()
        if failure:
            raise failure

    def tokens(self, index: int, text: object) -> Tokens:
        """Return the token ids of the prompt and a text.

        Raises:
            TextError: the value is not text.

        """
        if not isinstance(text, str):
            raise TextError(no_text(text), index)
        try:
            return self.runtime.tokenizer.encode(self.prompt + text)
        except UnicodeEncodeError as error:
            start = error.start - len(self.prompt)
            where = f"at character {start}" if start >= 0 else "in its prompt"
            raise TextError(
                f"has a lone surrogate {where}; decode it from its bytes again", index
            ) from None

    def _begin(self, texts: Iterable[str], shared: bool) -> Iterator[_Window]:
        for start, window in _split(texts):
            sequences = [self._sequence(index, text) for index, text in enumerate(window, start)]
            yield _Window(self.runtime.scheduler, sequences, self.journal, start, shared)

    def _finished(self, window: _Window, on_texts: OnTexts | None) -> list[Floats | TextError]:
        """Wait for a window; turn vectors without a direction into errors of their texts."""
        vectors = window.vectors(on_texts)
        for index, vector in enumerate(vectors):
            error = vector if isinstance(vector, TextError) else self._fault(vector)
            # The scheduler knows no positions of texts.
            if error is not None and error.index is None:
                vectors[index] = error = error.at(window.start + index)
                if self.errors == "raise":
                    raise error
        return vectors

    def _fault(self, vector: Floats) -> TextError | None:
        if not np.isfinite(vector).all():
            return TextError(why_not_finite(self.runtime.model.profile.file_type))
        if not vector[: self.dimensions].any():
            return TextError(
                "has no vector: the model gives only zeros for it; download or convert the model "
                "again"
            )
        return None

    def _sequence(self, index: int, text: str) -> Tokens | TextError:
        try:
            return self._fit(index, self.tokens(index, text))
        except TextError as error:
            if self.errors == "raise":
                raise
            return error

    def _fit(self, index: int, tokens: Tokens) -> Tokens:
        if len(tokens) == 0:
            raise TextError("is empty, and without a prompt there is nothing to pool", index)
        if len(tokens) <= self.limit:
            return tokens
        if not self.truncate:
            raise TextTooLongError(index, len(tokens), self.limit)
        cut = TruncationWarning(index, len(tokens), self.limit)
        if self.on_truncated:
            self.on_truncated(cut)
        else:
            warn(cut)
        closing = self.runtime.tokenizer.closing_tokens
        kept = max(0, self.limit - closing)
        return np.concatenate([tokens[:kept], tokens[len(tokens) - self.limit + kept :]])


class _Window:
    """Texts that are submitted together; identical texts are computed once."""

    def __init__(
        self,
        scheduler: Scheduler,
        sequences: list[Tokens | TextError],
        journal: Journal | None,
        start: int,
        shared: bool,
    ) -> None:
        self._sequences, self._journal = sequences, journal
        self.start = start  # position of its first text
        self._unique = {
            item.tobytes(): item for item in sequences if not isinstance(item, TextError)
        }
        unique = list(self._unique.values())
        self.work: Job | RequestGroup
        if shared and journal is None and fits_one_batch([*map(len, unique)]):
            self.work = scheduler.submit_group(unique)
        else:
            self.work = scheduler.submit_job(unique, journal)

    def vectors(self, on_texts: OnTexts | None) -> list[Floats | TextError]:
        """Wait for the vectors, or errors, in the order of the texts."""
        vectors = dict(zip(self._unique, self.work.result(on_texts), strict=True))
        if on_texts and len(self._sequences) > len(vectors):
            on_texts(len(self._sequences) - len(vectors), 0)
        if self._journal and self.work.recalled:
            self._journal.reused += self._count(self.work.recalled)
        return [
            item if isinstance(item, TextError) else vectors[item.tobytes()]
            for item in self._sequences
        ]

    def _count(self, positions: set[int]) -> int:
        """Return the number of texts whose sequences are at these positions."""
        chosen = {key for position, key in enumerate(self._unique) if position in positions}
        return sum(
            not isinstance(item, TextError) and item.tobytes() in chosen for item in self._sequences
        )


def _split(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Split an iterable into windows, each with the position of its first text."""
    iterator = iter(texts)
    start, size = 0, _FIRST_WINDOW
    for first in iterator:
        window = [first]
        characters = len(first) if isinstance(first, str) else 0
        for text in itertools.islice(iterator, size - 1):
            window.append(text)
            characters += len(text) if isinstance(text, str) else 0
            if characters >= _WINDOW_CHARACTERS:
                break
        yield start, window
        start += len(window)
        size = min(2 * size, _WINDOW_TEXTS)
