"""Reads the body of each request within limits, and stops its work when the client has left.

The limits come before parsing. A client that sends slowly holds a connection, but no handler.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jlocal.server.dialects import error_response
from jlocal.server.options import Limits, Timeouts
from jlocal.server.problem import Kind, Problem, invalid

_STOPPED = Problem(
    Kind.UNAVAILABLE,
    "the server stopped before it had the answer; send the request again",
    retry_after=1,
)


class Gate:
    """ASGI middleware: bodies are read whole, and disconnected clients cancel their handlers."""

    def __init__(self, app: ASGIApp, limits: Limits, timeouts: Timeouts) -> None:
        self._app, self._limits, self._timeouts = app, limits, timeouts
        self._held = 0  # bytes of all bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            try:
                await asyncio.wait_for(self._read(scope, receive, body), self._timeouts.body)
            except asyncio.TimeoutError:
                problem = Problem(Kind.SLOW, f"no whole body in {self._timeouts.body:g} seconds")
                await _refuse(problem, scope, receive, send)
                return
            except Problem as problem:
                await _refuse(problem, scope, receive, send)
                return
            except _ClientLeft:
                return
            await self._answer(scope, bytes(body), receive, send)
        finally:
            self._held -= len(body)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._limits.body:
            raise self._too_large()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            part: bytes = message.get("body", b"")
            if len(body) + len(part) > self._limits.body:
                raise self._too_large()
            if part and self._held + len(part) > self._limits.bodies:
                raise Problem(
                    Kind.OVERLOADED,
                    "the server holds as much of other requests as it may; try again later",
                    retry_after=1,
                )
            body += part
            self._held += len(part)
            if not message.get("more_body", False):
                return

    def _too_large(self) -> Problem:
        # Not 413, on which Elasticsearch cuts every text of the request by half and sends it again.
        return invalid(
            f"the body is larger than the {self._limits.body >> 20} MiB that this server takes; "
            "send fewer inputs in a request"
        )

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        left = asyncio.Event()
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()

        has_begun = False

        async def observed(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        handler = asyncio.ensure_future(self._app(scope, replay, observed))
        watcher = asyncio.ensure_future(watch())
        is_stopping = False
        try:
            await asyncio.wait((handler, watcher), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server waits no longer for requests to end
            is_stopping = True
        watcher.cancel()
        if not handler.done():
            handler.cancel()
        try:
            await handler
        except asyncio.CancelledError:
            if is_stopping and not has_begun and not left.is_set():
                await _refuse(_STOPPED, scope, receive, send)


class _ClientLeft(Exception):
    """The client has closed the connection before its body was whole."""


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(scope["path"], problem)
    # The rest of the body is not read.
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
