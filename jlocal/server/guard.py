"""Who may ask: the key, the names of the server, and the pages that a browser asks for."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jlocal.server.dialects import error_response
from jlocal.server.options import ServerOptions
from jlocal.server.problem import Kind, Problem

# Answered without a key, as text-embeddings-inference answers them; the pages have no data in them.
PUBLIC = frozenset({"/", "/docs", "/favicon.ico", "/health", "/metrics", "/openapi.json", "/ping"})
_READING = frozenset({"GET", "HEAD"})
_LOOPBACK_NAMES = ("localhost",)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: refuses requests that may not ask, and sets the security headers.

    A page of another site can make a browser send requests to this machine, by its address or,
    through DNS rebinding, by a name of its own. So without a key only the names of this server
    are answered, and pages of other origins only where they are allowed.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app = app
        self._key = options.api_key.encode() if options.api_key is not None else None
        self._hosts = {*_LOOPBACK_NAMES, *(host.casefold() for host in options.hosts)}
        self._hosts.add(options.host.casefold())
        self._origins = frozenset(options.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if self._origins:
                    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            await send(message)

        problem = self._problem(scope)
        if problem:
            await error_response(scope["path"], problem)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host = _name(headers.get("host", ""))
        if self._key is None and not self._is_own(host):
            return Problem(
                Kind.FORBIDDEN,
                f"this server does not answer under the name {host[:80]!r}; start it with "
                "--allowed-host and the name",
            )
        origin = headers.get("origin")
        if origin is not None and not self._may_ask(origin, headers.get("host", "")):
            return Problem(
                Kind.FORBIDDEN,
                f"pages of {origin[:80]!r} may not ask this server; start it with --cors and the "
                "origin",
            )
        is_public = scope["path"] in PUBLIC and scope["method"] in _READING
        if self._key is None or is_public:
            return None
        sent = _key(headers)
        if sent is None:
            return Problem(Kind.UNAUTHORIZED, "send this server's key: Authorization: Bearer KEY")
        if not hmac.compare_digest(sent, self._key):
            return Problem(Kind.UNAUTHORIZED, "this is not the key of this server")
        return None

    def _is_own(self, host: str) -> bool:
        if host in self._hosts:
            return True
        # An address cannot be rebound.
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _may_ask(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.netloc.casefold() == host.casefold() and parts.scheme in ("http", "https")


def _name(host: str) -> str:
    """Return the name in a Host header, without its port and the brackets of IPv6."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".").casefold()
    except ValueError:
        return ""


def _key(headers: Headers) -> bytes | None:
    """Return the key of a request: of OpenAI's header, or that of other APIs."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.casefold() == "bearer":
        return token.strip().encode()
    other = headers.get("x-api-key") or headers.get("api-key")
    return other.encode() if other else None
