"""The queue of requests: high priorities first, fair between callers, bounded in tokens."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence
from threading import Lock

from jlocal.errors import Overloaded
from jlocal.llama.planning import SEQUENCE_LIMIT
from jlocal.llama.requests import Request

# Tokens of a caller's turn: few, so that one batch has room for the turns of many callers.
_TURN = 64

# A lower priority is owed one token for every three of higher ones: a quarter of all tokens.
_TOKENS_PER_OWED = 3


class RequestQueue:
    """Waiting requests; thread-safe.

    A batch is of the highest priority alone: a query would wait for the documents in its batch.
    Lower priorities that wait are owed a share of its tokens, which adds up until it pays for a
    batch of theirs. Within a priority, callers take turns.

    Attributes:
        token_budget: the most tokens of a batch of several requests.
        limit: the most tokens that may wait; None for no limit.

    """

    def __init__(self, token_budget: int, limit: int | None) -> None:
        self.token_budget, self.limit = token_budget, limit
        self._lock = Lock()
        self._levels: dict[int, _Level] = {}
        self._count = self._tokens = 0
        self._short = self._short_tokens = 0  # of sequences within the budget of a batch
        # Cancelling takes no lock: the garbage collector may cancel in a thread that holds it.
        self._cancelled: deque[Request] = deque()

    def __len__(self) -> int:
        """Return how many requests wait."""
        with self._lock:
            self._drop_cancelled()
            return self._count

    @property
    def tokens(self) -> int:
        """How many tokens wait."""
        with self._lock:
            self._drop_cancelled()
            return self._tokens

    @property
    def short(self) -> int:
        """How many requests wait that share batches: those within the budget of a batch."""
        with self._lock:
            self._drop_cancelled()
            return self._short

    @property
    def full_batches(self) -> int:
        """How many batches the short requests fill."""
        with self._lock:
            self._drop_cancelled()
            return max(self._short_tokens // self.token_budget, self._short // SEQUENCE_LIMIT)

    def add(self, requests: Sequence[Request]) -> None:
        """Add all of the requests, or none of them.

        Raises:
            Overloaded: too many tokens would wait. An empty queue takes any request.

        """
        tokens = sum(len(request.tokens) for request in requests)
        with self._lock:
            self._drop_cancelled()
            if self.limit is not None and self._count and self._tokens + tokens > self.limit:
                raise Overloaded(self._tokens, self.limit)
            for request in requests:
                request.on_cancel = self._cancelled.append
                level = self._levels.setdefault(request.priority, _Level(self.token_budget))
                level.add(request)
                self._count_in(request, 1)

    def next_batch(self, longest: int | None = None) -> list[Request]:
        """Take the requests of the next batch, which can no longer be cancelled.

        A sequence above the budget is a batch of its own.

        Args:
            longest: leave longer sequences in the queue; None takes sequences of any length.

        """
        batch: list[Request] = []
        with self._lock:
            self._drop_cancelled()
            levels = [self._levels[priority] for priority in sorted(self._levels, reverse=True)]
            overdue = [level for level in reversed(levels[1:]) if level.is_overdue(longest)]
            for level in overdue + levels:
                if batch := self._take(level, longest):
                    tokens = sum(len(request.tokens) for request in batch)
                    level.owed = max(0, level.owed - tokens)
                    for lower in levels[levels.index(level) + 1 :]:
                        lower.owed += -(-tokens // _TOKENS_PER_OWED)
                    break
        # Longest first, as in jobs, so that a lone call gets the same bits both ways.
        return sorted(batch, key=lambda request: len(request.tokens), reverse=True)

    def drain(self) -> list[Request]:
        """Take all requests that are not cancelled."""
        with self._lock:
            requests = [request for level in self._levels.values() for request in level]
            self._levels.clear()
            self._count = self._tokens = self._short = self._short_tokens = 0
        return [request for request in requests if request.set_running_or_notify_cancel()]

    def _take(self, level: _Level, longest: int | None) -> list[Request]:
        """Take as many requests of a level as fit into a batch."""
        batch: list[Request] = []
        room = self.token_budget
        while len(batch) < SEQUENCE_LIMIT and (request := level.next(longest)):
            if batch and len(request.tokens) > room:
                break
            if request.set_running_or_notify_cancel():
                batch.append(request)
                level.charge(request)
                room -= len(request.tokens)
            self._discard(request)
        return batch

    def _discard(self, request: Request) -> bool:
        """Remove a request; return whether it was here."""
        level = self._levels.get(request.priority)
        if level is None or not level.discard(request):
            return False
        if not level:
            del self._levels[request.priority]
        self._count_in(request, -1)
        return True

    def _count_in(self, request: Request, sign: int) -> None:
        tokens = len(request.tokens)
        self._count += sign
        self._tokens += sign * tokens
        if tokens <= self.token_budget:
            self._short += sign
            self._short_tokens += sign * tokens

    def _drop_cancelled(self) -> None:
        while self._cancelled:
            request = self._cancelled.popleft()
            if self._discard(request):
                request.set_running_or_notify_cancel()


class _Level:
    """The waiting requests of one priority.

    Callers take turns by surplus round robin (Adiseshu, Parulkar and Varghese, 1996): each turn
    adds tokens to the caller's credit, which its requests may overdraw. A caller that has overdrawn
    it waits until its turns have paid for that, even if nothing of it waits meanwhile.

    Attributes:
        owed: tokens that higher priorities owe it.

    """

    def __init__(self, token_budget: int) -> None:
        self._token_budget = token_budget
        self.owed = 0
        self._count = 0
        self._callers: OrderedDict[Hashable, _Caller] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Request]:
        for caller in self._callers.values():
            yield from caller.requests

    def add(self, request: Request) -> None:
        """Add a request behind those of the same caller."""
        self._callers.setdefault(request.caller, _Caller()).requests[request] = None
        self._count += 1

    def discard(self, request: Request) -> bool:
        """Remove a request; return whether it was here."""
        caller = self._callers.get(request.caller)
        if caller is None or request not in caller.requests:
            return False
        del caller.requests[request]
        if not caller.requests and caller.credit > 0:
            del self._callers[request.caller]
        self._count -= 1
        return True

    def is_overdue(self, longest: int | None) -> bool:
        """Return whether its credit covers its next batch."""
        request = self.next(longest)
        return request is not None and self.owed >= max(self._token_budget, len(request.tokens))

    def charge(self, request: Request) -> None:
        """Make the caller pay for a request that is taken for a batch."""
        self._callers[request.caller].credit -= len(request.tokens)

    def next(self, longest: int | None) -> Request | None:
        """Return the request whose turn it is; None if all have more than `longest` tokens."""
        passed = 0
        while passed < len(self._callers):
            key, caller = next(iter(self._callers.items()))
            request = next(iter(caller.requests), None)
            if caller.credit <= 0:
                caller.credit += _TURN
                passed = 0
            elif request is None:
                del self._callers[key]
                continue
            elif longest is None or len(request.tokens) <= longest:
                return request
            else:
                passed += 1
            self._callers.move_to_end(key)
        return None


class _Caller:
    """The waiting requests of one caller, as the keys of a dict from which any can be removed."""

    def __init__(self) -> None:
        self.requests: OrderedDict[Request, None] = OrderedDict()
        self.credit = _TURN
