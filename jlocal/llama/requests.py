"""Single requests, each the future of one vector, and the queue that batches them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from jlocal.errors import Overloaded, TextError, TextTooLongError
from jlocal.llama.planning import SEQUENCE_LIMIT, TOKEN_BUDGET
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats


class Request(Future[Floats]):
    """The future vector of one sequence: (d,) float32, as pooled, not normalised.

    Attributes:
        tokens: the sequence.
        is_unwanted: whether a caller has tried to cancel it.

    """

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = tokens
        self.is_unwanted = False

    def cancel(self) -> bool:
        """Cancel the request if it is not being computed yet.

        A running batch stops early once all its requests are cancelled.
        """
        self.is_unwanted = True
        return super().cancel()


class RequestGroup:
    """The requests of one call.

    Attributes:
        recalled: empty; see `Job`.

    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests
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
            for request in self._requests:
                try:
                    results.append(request.result())
                except TextError as error:
                    results.append(error)
                if on_batch:
                    on_batch(1, len(request.tokens))
        except BaseException:
            self.cancel()
            raise
        return results

    def cancel(self) -> None:
        """Cancel all requests."""
        for request in self._requests:
            request.cancel()


class RequestQueue:
    """A first-in, first-out queue of requests; not thread-safe.

    Attributes:
        limit: the most tokens that may wait; None for no limit.

    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._waiting: deque[Request] = deque()
        self._tokens = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, requests: Sequence[Request]) -> None:
        """Add all of the requests, or none of them.

        Raises:
            Overloaded: too many tokens would wait. An empty queue takes any request.

        """
        tokens = sum(len(request.tokens) for request in requests)
        if self.limit is not None and self._tokens + tokens > self.limit:
            self._drop_cancelled()
            if self._waiting and self._tokens + tokens > self.limit:
                raise Overloaded(self._tokens, self.limit)
        self._waiting.extend(requests)
        self._tokens += tokens

    def next_batch(self) -> list[Request]:
        """Take the requests of the next batch, which can no longer be cancelled.

        A sequence above the budget is a batch of its own.
        """
        batch: list[Request] = []
        tokens = 0
        while self._waiting and len(batch) < SEQUENCE_LIMIT:
            request = self._waiting[0]
            if batch and not request.cancelled() and tokens + len(request.tokens) > TOKEN_BUDGET:
                break
            self._waiting.popleft()
            self._tokens -= len(request.tokens)
            if request.set_running_or_notify_cancel():
                batch.append(request)
                tokens += len(request.tokens)
        # Longest first, as in jobs, so that a lone call gets the same bits both ways.
        return sorted(batch, key=lambda request: len(request.tokens), reverse=True)

    def drain(self) -> list[Request]:
        """Take all requests that are not cancelled."""
        waiting, self._waiting, self._tokens = self._waiting, deque(), 0
        return [request for request in waiting if request.set_running_or_notify_cancel()]

    def _drop_cancelled(self) -> None:
        waiting, self._waiting, self._tokens = self._waiting, deque(), 0
        for request in waiting:
            if request.cancelled():
                request.set_running_or_notify_cancel()
            else:
                self._waiting.append(request)
                self._tokens += len(request.tokens)


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
