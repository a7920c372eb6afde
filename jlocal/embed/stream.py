"""A stream of texts in windows: one is computed while the next is tokenised; in input order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

from jlocal.caller import warn
from jlocal.embed.prepare import Preparer
from jlocal.errors import TextError, TruncationWarning
from jlocal.llama.job import Job
from jlocal.llama.planning import fits_one_batch
from jlocal.llama.requests import RequestGroup
from jlocal.llama.scheduler import Scheduler
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
        preparer: turns each text into tokens.
        dimensions: how many leading components of a vector will be kept.
        errors: whether the `TextError` of an unusable text is raised, or replaces its vector.
        on_truncated: called for each truncated text, in place of a warning.
        journal: the vectors of an earlier run, which keeps those of this run.

    """

    preparer: Preparer
    dimensions: int
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

    def _begin(self, texts: Iterable[str], shared: bool) -> Iterator[_Window]:
        scheduler = self.preparer.runtime.scheduler
        for start, window in _split(texts):
            with scheduler.preparing() if shared else nullcontext():
                sequences = [
                    self._sequence(index, text) for index, text in enumerate(window, start)
                ]
            yield _Window(scheduler, sequences, self.journal, start, shared)

    def _finished(self, window: _Window, on_texts: OnTexts | None) -> list[Floats | TextError]:
        """Wait for a window; turn vectors without a direction into errors of their texts."""
        fault = self.preparer.fault
        vectors = window.vectors(on_texts)
        for index, vector in enumerate(vectors):
            error = vector if isinstance(vector, TextError) else fault(vector, self.dimensions)
            # The scheduler knows no positions of texts.
            if error is not None and error.index is None:
                vectors[index] = error = error.at(window.start + index)
                if self.errors == "raise":
                    raise error
        return vectors

    def _sequence(self, index: int, text: str) -> Tokens | TextError:
        try:
            tokens, cut = self.preparer.fit(index, self.preparer.tokens(index, text))
        except TextError as error:
            if self.errors == "raise":
                raise
            return error
        if cut and self.on_truncated:
            self.on_truncated(cut)
        elif cut:
            warn(cut)
        return tokens


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
        lengths = [*map(len, unique)]
        if shared and journal is None and fits_one_batch(lengths, scheduler.token_budget):
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
