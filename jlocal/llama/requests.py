"""Single requests, each the future of one vector, and the requests of one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future

import numpy as np

from jlocal.errors import TextError, TextTooLongError
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats
from jlocal.waiting import result_of


class Request(Future[Floats]):
    """The future vector of one sequence: (d,) float32, as pooled, not normalised.

    Attributes:
        tokens: the sequence.
        caller: whose request it is; see `RequestQueue`.
        priority: higher ones go first.
        call: shared by all requests of one call.
        is_unwanted: whether a caller has tried to cancel it.
        on_cancel: called in the thread that cancels it.
        started: `time.perf_counter()` when it left the queue; None while it waits.

    """

    def __init__(
        self,
        tokens: Tokens,
        caller: Hashable = None,
        priority: int = 0,
        call: object | None = None,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.caller, self.priority = caller, priority
        self.call = object() if call is None else call
        self.is_unwanted = False
        self.on_cancel: Callable[[Request], None] | None = None
        self.started: float | None = None

    def set_running_or_notify_cancel(self) -> bool:
        """Mark the request as taken from the queue; False if it was cancelled."""
        self.started = time.perf_counter()
        return super().set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Cancel the request if it is not being computed yet.

        A running batch stops early once all its requests are cancelled.
        """
        self.is_unwanted = True
        is_cancelled = super().cancel()
        if is_cancelled and self.on_cancel:
            self.on_cancel(self)
        return is_cancelled


class RequestGroup:
    """The requests of one call.

    Attributes:
        requests: in the order of the sequences.
        recalled: empty; see `Job`.

    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = tuple(requests)
        self.recalled: set[int] = set()

    def result(
        self, on_batch: Callable[[int, int], None] | None = None
    ) -> list[Floats | TextError]:
        """Wait for the vectors, or the errors of single sequences, in the order of the sequences.

        An exception while waiting cancels all requests.

        Args:
            on_batch: called with the number of finished texts and of their tokens.

        Raises:
            ModelError: llama.cpp cannot compute the vectors, or the model was closed meanwhile.

        """
        results: list[Floats | TextError] = []
        try:
            for request in self.requests:
                try:
                    results.append(result_of(request))
                except TextError as error:
                    results.append(error)
                if on_batch:
                    on_batch(1, len(request.tokens))
        except BaseException:
            self.cancel()
            raise
        return results

    def future(self) -> Future[list[Floats | TextError]]:
        """Return the future of `result`, for `asyncio.wrap_future`; cancelling it cancels all."""
        return _GroupFuture(self)

    def cancel(self) -> None:
        """Cancel all requests."""
        for request in self.requests:
            request.cancel()


class _GroupFuture(Future[list[Floats | TextError]]):
    """Ends when the last request of a group does."""

    def __init__(self, group: RequestGroup) -> None:
        super().__init__()
        self._group = group
        # Requests may end in several threads at once; `pop` is atomic.
        self._unfinished = [*group.requests[1:]]
        for request in group.requests:
            request.add_done_callback(self._on_done)
        if not group.requests:
            self.set_result([])

    def cancel(self) -> bool:
        """Cancel all requests of the group."""
        is_cancelled = super().cancel()
        if is_cancelled:
            self._group.cancel()
        return is_cancelled

    def _on_done(self, _request: Future[Floats]) -> None:
        try:
            self._unfinished.pop()
        except IndexError:  # it was the last one
            if self.set_running_or_notify_cancel():
                try:
                    self.set_result(self._group.result())
                except Exception as error:
                    self.set_exception(error)


def check_tokens(tokens: Sequence[int] | Tokens, limit: int, vocabulary: int) -> Tokens:
    """Return token ids from outside as int32.

    Args:
        tokens: one sequence.
        limit: the most tokens in it.
        vocabulary: number of tokens in the model's vocabulary.

    Raises:
        TextTooLongError: the sequence is too long.
        TextError: the sequence is empty, or holds anything but ids of the vocabulary.

    """
    try:
        ids = np.asarray(tokens)
    except ValueError:  # rows of different lengths
        ids = np.empty((0, 0))
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise TextError("is not a sequence of token ids")
    if not ids.size:
        raise TextError("has no tokens, so there is nothing to pool")
    if ids.size > limit:
        raise TextTooLongError(None, ids.size, limit)
    bad = ids[(ids < 0) | (ids >= vocabulary)]
    if bad.size:
        raise TextError(f"has the token id {bad[0]}, but the model's ids end at {vocabulary - 1:,}")
    return ids.astype(np.int32)
