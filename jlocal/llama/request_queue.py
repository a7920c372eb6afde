"""The queue of requests: high priorities first, fair between callers, bounded in tokens."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence

from jlocal.errors import Overloaded
from jlocal.llama.planning import SEQUENCE_LIMIT, TOKEN_BUDGET
from jlocal.llama.requests import Request

# Tokens of a caller's turn: few, so that one batch has room for the turns of many callers.
_TURN = 64

# Tokens of each batch that are owed to a lower priority.
_SHARE = TOKEN_BUDGET // 4


class RequestQueue:
    """Waiting requests; not thread-safe, except for `Request.cancel`.

    A batch takes requests of the highest priority first. Each lower priority that waits is owed a
    share of the batch; what it does not get adds up until it covers its next request, which then
    goes first. Within a priority, callers take turns.

    Attributes:
        limit: the most tokens that may wait; None for no limit.

    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._levels: dict[int, _Level] = {}
        self._count = self._tokens = 0
        # Cancelling takes no lock: the garbage collector may cancel in a thread that holds it.
        self._cancelled: deque[Request] = deque()

    def __len__(self) -> int:
        """Return how many requests wait."""
        self._drop_cancelled()
        return self._count

    @property
    def tokens(self) -> int:
        """How many tokens wait."""
        self._drop_cancelled()
        return self._tokens

    def add(self, requests: Sequence[Request]) -> None:
        """Add all of the requests, or none of them.

        Raises:
            Overloaded: too many tokens would wait. An empty queue takes any request.

        """
        tokens = sum(len(request.tokens) for request in requests)
        if self.limit is not None and self and self._tokens + tokens > self.limit:
            raise Overloaded(self._tokens, self.limit)
        for request in requests:
            request.on_cancel = self._cancelled.append
            self._levels.setdefault(request.priority, _Level()).add(request)
        self._count += len(requests)
        self._tokens += tokens

    def next_batch(self, longest: int | None = None) -> list[Request]:
        """Take the requests of the next batch, which can no longer be cancelled.

        A sequence above the budget is a batch of its own.

        Args:
            longest: leave longer sequences in the queue; None takes sequences of any length.

        """
        self._drop_cancelled()
        batch: list[Request] = []
        levels = [self._levels[priority] for priority in sorted(self._levels, reverse=True)]
        lower = levels[1:]
        for level in reversed(lower):
            self._fill(batch, level, longest, level.owed)
        for level in lower:
            level.owed += _SHARE
        for level in levels:
            self._fill(batch, level, longest)
        # Longest first, as in jobs, so that a lone call gets the same bits both ways.
        return sorted(batch, key=lambda request: len(request.tokens), reverse=True)

    def drain(self) -> list[Request]:
        """Take all requests that are not cancelled."""
        requests = [request for level in self._levels.values() for request in level]
        self._levels.clear()
        self._count = self._tokens = 0
        return [request for request in requests if request.set_running_or_notify_cancel()]

    def _fill(
        self, batch: list[Request], level: _Level, longest: int | None, most: int | None = None
    ) -> None:
        """Move requests of a level to the batch: as many as fit, and `most` tokens at most."""
        room = TOKEN_BUDGET - sum(len(request.tokens) for request in batch)
        most = self._tokens if most is None else most
        while len(batch) < SEQUENCE_LIMIT and (request := level.next(longest)):
            length = len(request.tokens)
            if length > most or (batch and length > room):
                break
            self._discard(request)
            if request.set_running_or_notify_cancel():
                batch.append(request)
                level.charge(request)
                room -= length
                most -= length

    def _discard(self, request: Request) -> bool:
        """Remove a request; return whether it was here."""
        level = self._levels.get(request.priority)
        if level is None or not level.discard(request):
            return False
        if not level:
            del self._levels[request.priority]
        self._count -= 1
        self._tokens -= len(request.tokens)
        return True

    def _drop_cancelled(self) -> None:
        while self._cancelled:
            request = self._cancelled.popleft()
            if self._discard(request):
                request.set_running_or_notify_cancel()


class _Level:
    """The waiting requests of one priority.

    Callers take turns by deficit round robin (Shreedhar and Varghese, 1996): each turn adds tokens
    to a caller's credit, which pays for its requests in their order.

    Attributes:
        owed: tokens that higher priorities have kept it from.

    """

    def __init__(self) -> None:
        self.owed = 0
        self._callers: OrderedDict[Hashable, _Caller] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._callers)

    def __iter__(self) -> Iterator[Request]:
        for caller in self._callers.values():
            yield from caller.requests

    def add(self, request: Request) -> None:
        """Add a request behind those of the same caller."""
        self._callers.setdefault(request.caller, _Caller()).requests[request] = None

    def discard(self, request: Request) -> bool:
        """Remove a request; return whether it was here."""
        caller = self._callers.get(request.caller)
        if caller is None or request not in caller.requests:
            return False
        del caller.requests[request]
        if not caller.requests:
            del self._callers[request.caller]
        return True

    def charge(self, request: Request) -> None:
        """Account for a request that was taken for a batch."""
        self.owed = max(0, self.owed - len(request.tokens))
        if caller := self._callers.get(request.caller):
            caller.credit -= len(request.tokens)

    def next(self, longest: int | None) -> Request | None:
        """Return the request whose turn it is; None if all have more than `longest` tokens."""
        passed = 0
        while passed < len(self._callers):
            key, caller = next(iter(self._callers.items()))
            request = next(iter(caller.requests))
            length = len(request.tokens)
            if longest is not None and length > longest:
                passed += 1
            elif length <= caller.credit:
                return request
            else:
                caller.credit += _TURN
                passed = 0
            self._callers.move_to_end(key)
        return None


class _Caller:
    """The waiting requests of one caller, as the keys of a dict from which any can be removed."""

    def __init__(self) -> None:
        self.requests: OrderedDict[Request, None] = OrderedDict()
        self.credit = _TURN
