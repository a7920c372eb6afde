"""The socket that a server listens on."""

from __future__ import annotations

import os
import socket

from jlocal.errors import AddressError, ArgumentError

BACKLOG = 512
# The first file descriptor that systemd passes, sd_listen_fds(3).
_FIRST_PASSED = 3


def passed_socket() -> socket.socket | None:
    """Return the socket that systemd has opened for this process; None without one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if os.environ.get("LISTEN_FDS") != "1":
        raise ArgumentError("systemd passes several sockets, and a server takes one")
    return socket.socket(fileno=_FIRST_PASSED)


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        AddressError: that cannot be done.

    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AddressError(
            f"cannot listen on {host} port {port}: {reason}; choose another address or port",
            host=host,
            port=port,
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL at which clients on this machine reach a socket."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return str(listener.getsockname())
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{host}:{port}"
