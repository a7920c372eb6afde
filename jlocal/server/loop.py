"""The event loop: uvicorn, and an end that lets running requests finish."""

from __future__ import annotations

import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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

    Raises:
        Exception: what `on_ready` raised; the server has ended.

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
    if server.failure:
        raise server.failure


# Windows has SIGBREAK, from Ctrl-Break, and no SIGHUP.
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]


class _Server(uvicorn.Server):
    """Ends by any signal as by SIGTERM, which uvicorn does for some.

    Attributes:
        failure: the error of `on_ready`.

    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._others: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self.failure: Exception | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Only the main thread receives signals.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # nohup, and a shell that starts a program in the background, ignore some.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._others[number] = signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number, other in self._others.items():
                signal.signal(number, other)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        # The second Ctrl-C waits for no request.
        if signal.SIGINT in self._others:
            signal.signal(signal.SIGINT, self._others[signal.SIGINT])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Imported modules stay: the garbage collector need not visit them in each pass.
        gc.freeze()
        if not self.should_exit:
            try:
                self._on_ready()
            except Exception as error:
                # Raised here, it would end the loop in the middle of its tasks.
                self.failure, self.should_exit = error, True
