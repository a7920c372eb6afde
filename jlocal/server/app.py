"""The application: routes, and around them the gate, the guard and the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from jlocal.server.access import Access
from jlocal.server.agents import Agents
from jlocal.server.dialects import error_response
from jlocal.server.gate import Gate
from jlocal.server.guard import Guard
from jlocal.server.problem import Kind, Problem
from jlocal.server.protocols import (
    cohere,
    llama_server,
    meta,
    ollama,
    openai,
    page,
    reference,
    search,
    tei,
)
from jlocal.server.service import Service

_PROTOCOLS = (meta, openai, cohere, ollama, search, page, reference, tei, llama_server)
_KINDS = {404: Kind.NOT_FOUND, 405: Kind.NOT_ALLOWED}


def create_app(service: Service, *, logs: bool = True) -> Starlette:
    """Make the ASGI application of a server.

    Args:
        service: its models, collections and access rules.
        logs: write a line to stderr for each request.

    """
    options = service.options
    agents = Agents(service.pool, options.collections)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await agents.close()
        await service.close()

    middleware = [Middleware(Access, metrics=service.metrics, logs=logs)]
    if options.origins:
        middleware.append(
            # A wildcard here echoes the headers that a browser asks for: `x-stainless-*`.
            Middleware(
                CORSMiddleware,
                allow_origins=[*options.origins],
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
                expose_headers=["*"],
            )
        )
    middleware += [
        Middleware(Guard, options=options),
        Middleware(Gate, limits=options.limits, timeouts=options.timeouts),
    ]
    app = Starlette(
        routes=[
            *(route for protocol in _PROTOCOLS for route in protocol.routes(service)),
            agents.route(),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.state.service = service
    app.router.redirect_slashes = False
    return app


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    kind = _KINDS.get(error.status_code, Kind.INVALID)
    message = (
        f"{request.method} is not a method of this route"
        if kind is Kind.NOT_ALLOWED
        else "there is no such route here; /openapi.json lists them"
    )
    response = error_response(path, Problem(kind, message))
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response
