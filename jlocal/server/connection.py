"""Connections of clients that are slow, or too many: uvicorn has no limits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jlocal.server.options import Limits, Timeouts


def bounded(limits: Limits, timeouts: Timeouts) -> type[asyncio.Protocol]:
    """Make a protocol class for uvicorn with these limits."""

    class Bounded(BoundedProtocol):
        connection_limit = limits.connections
        header_timeout = timeouts.headers
        stall_timeout = timeouts.stalled

    return Bounded


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with deadlines for headers and for reading the answer."""

    connection_limit: int
    header_timeout: float
    stall_timeout: float

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._headers, self._stall = _Timer(), _Timer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.connection_limit:
            transport.abort()
            return
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if self.cycle is None or self.cycle.response_complete:
            self._expect_headers()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        self._headers.stop()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Wait for a client that does not read as fast as it is written to."""
        super().pause_writing()
        self._stall.start(self.loop, self.stall_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        self._stall.stop()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self._headers.stop()
        self._stall.stop()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._headers.start(self.loop, self.header_timeout, self.transport.abort)


class _Timer:
    """A timer that starts once and can be stopped."""

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    def start(
        self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], None]
    ) -> None:
        if self._handle is None:
            self._handle = loop.call_later(seconds, callback)

    def stop(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None
