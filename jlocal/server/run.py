"""Listening: the socket, uvicorn, and an end that lets running requests finish."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from jlocal.errors import AddressError, ArgumentError
from jlocal.server.app import create_app
from jlocal.server.connection import bounded
from jlocal.server.options import ServerOptions

_BACKLOG = 512
# The first file descriptor that systemd passes, sd_listen_fds(3).
_FIRST_PASSED = 3


def serve(
    options: ServerOptions,
    on_ready: Callable[[str], None],
    *,
    logs: bool = True,
    on_start: Callable[[uvicorn.Server], None] | None = None,
) -> None:
    """Serve until a signal ends it; running requests are finished first.

    Args:
        options: what is served, and where.
        on_ready: called with the URL when requests are taken.
        logs: write a line to stderr for each request.
        on_start: called with uvicorn's server, whose `should_exit` ends it as a signal does.

    Raises:
        ModelError: a model cannot be found or loaded.
        AddressError: the address cannot be listened on.

    """
    app = create_app(options, logs=logs)
    listener = passed_socket() or _listen(options.host, options.port)
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
        backlog=_BACKLOG,
    )
    if options.models and not options.is_lazy:
        app.state.service.pool.load_first()
    server = _Server(config, lambda: on_ready(_url(listener)))
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
        # What is imported by now stays: the collector need not look at it in each pass.
        gc.freeze()
        if not self.should_exit:
            self._on_ready()


def passed_socket() -> socket.socket | None:
    """Return the socket that systemd has opened for this process; None without one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if os.environ.get("LISTEN_FDS") != "1":
        raise ArgumentError("systemd passes several sockets, and a server takes one")
    return socket.socket(fileno=_FIRST_PASSED)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AddressError(
            f"cannot listen on {host} port {port}: {reason}; choose another address or port",
            host=host,
            port=port,
        ) from error
    return listener


def _url(listener: socket.socket) -> str:
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return str(listener.getsockname())
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{host}:{port}"
