"""The event loop: uvicorn, and an end that lets running requests finish."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from jlocal.server.connection import bounded
from jlocal.server.listening import BACKLOG
from jlocal.server.options import ServerOptions


def run(
    app: Starlette,
    options: ServerOptions,
    listener: socket.socket,
    on_ready: Callable[[], None],
    on_start: Callable[[uvicorn.Server], None] | None = None,
) -> None:
    """Answer requests until a signal comes.

    Args:
        app: the application.
        options: its limits.
        listener: the socket that clients connect to.
        on_ready: called when requests are taken.
        on_start: called with uvicorn's server before.

    """
    config = uvicorn.Config(
        app,
        http=bounded(options.limits, options.timeouts),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=options.timeouts.idle,
        timeout_graceful_shutdown=options.timeouts.drain,
        backlog=BACKLOG,
    )
    server = _Server(config, on_ready)
    if on_start:
        on_start(server)
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            # A signal is the usual end of a server; uvicorn would raise it again.
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Imported modules stay: the garbage collector need not visit them in each pass.
        gc.freeze()
        if not self.should_exit:
            self._on_ready()
