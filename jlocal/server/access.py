"""One line in the log for each request, without its texts, and an id that finds the line."""

from __future__ import annotations

import re
import sys
import time
import traceback
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jlocal.printable import printable
from jlocal.server.dialects import error_response
from jlocal.server.metrics import Metrics
from jlocal.server.problem import Kind, Problem

_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
# Programs request these every few seconds; their lines would hide all others.
_SILENT = frozenset({"/health", "/ping", "/metrics"})
_CLIENT_LEFT = 499  # nginx's status
_MAX_PATH = 120


class Access:
    """ASGI middleware: logs and counts requests, and answers those that failed."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, logs: bool = True) -> None:
        self._app, self._metrics, self._logs = app, metrics, logs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _ID.fullmatch(sent) else uuid.uuid4().hex
        start, status, size = time.perf_counter(), _CLIENT_LEFT, 0

        async def observed(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:
            log(f"{request_id} failed:", traceback.format_exc())
            if status != _CLIENT_LEFT:  # the answer has begun
                raise
            problem = Problem(Kind.INTERNAL, f"the server has failed; request {request_id}")
            await error_response(scope["path"], problem)(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - start
            self._count(scope, status, seconds)
            if self._logs and scope["path"] not in _SILENT:
                client = (scope.get("client") or ("-",))[0]
                log(
                    f"{client} {scope['method']} {scope['path'][:_MAX_PATH]} {status} "
                    f"{1000 * seconds:.1f}ms {size}B {request_id}"
                )

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # Only paths of this server: a client must not make labels without end.
        route = scope.get("route")
        method = getattr(route, "path", "unknown")
        self._metrics.requests.labels(method).inc()
        self._metrics.request_duration.observe(seconds)
        if status < 400:
            self._metrics.successes.labels(method).inc()
        else:
            self._metrics.failures.labels(str(status)).inc()


def log(line: str, details: str = "") -> None:
    """Write a line of the log to stderr, printable; a line of details cannot pass for one."""
    lines = [f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}"]
    lines += (f"    {detail}" for detail in details.split("\n") if detail)
    sys.stderr.write("".join(f"{printable(text)}\n" for text in lines))
    sys.stderr.flush()
