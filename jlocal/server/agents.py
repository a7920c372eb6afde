"""Tools for agents at /mcp: the collections of the server, searched with its own models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from jlocal.errors import ExtraError
from jlocal.extras import require
from jlocal.server.dialects import error_response
from jlocal.server.problem import problem_of

if TYPE_CHECKING:
    from jlocal.collection.config import CollectionConfig
    from jlocal.embed.embedder import Embedder
    from jlocal.mcp.library import Library
    from jlocal.server.models import ModelPool

PATH = "/mcp"


class Agents:
    """The Model Context Protocol over HTTP, which is imported when it is first asked for.

    The package takes longer to import than a server may take to start.
    """

    def __init__(self, pool: ModelPool, collections: tuple[Path, ...]) -> None:
        """Import nothing yet."""
        self._pool, self._collections = pool, collections
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._router: Router | None = None

    def route(self) -> Route:
        """Return the route of the protocol."""
        return Route(PATH, self, methods=["GET", "POST", "DELETE"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        async with self._starting:
            if self._router is None:
                refusal = await self._start()
                if refusal:
                    await refusal(scope, receive, send)
                    return
        assert self._router
        await self._router(scope, receive, send)

    async def close(self) -> None:
        """End the protocol, and close the collections."""
        self._stopping.set()
        if self._running:
            await self._running

    async def _start(self) -> Response | None:
        """Import and start the protocol; return the answer if its package is missing."""
        try:
            require("mcp", "tools for agents need")
        except ExtraError as error:
            return error_response(PATH, problem_of(error))
        ready = asyncio.Event()
        self._running = asyncio.ensure_future(self._run(ready))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait((waiting, self._running), return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            waiting.cancel()
            self._running.result()
        return None

    async def _run(self, ready: asyncio.Event) -> None:
        # One task enters and leaves the context of the protocol, as its task group wants it.
        library = await asyncio.to_thread(self._library, asyncio.get_running_loop())
        try:
            from jlocal.mcp.app import streamable_http

            http = streamable_http(library, PATH)
            async with http.running():
                self._router = Router(http.routes)
                ready.set()
                await self._stopping.wait()
        finally:
            await asyncio.to_thread(library.close)

    def _library(self, loop: asyncio.AbstractEventLoop) -> Library:
        # Importing it takes long, and this is not the thread of the event loop.
        from jlocal.mcp.app import streamable_http  # noqa: F401
        from jlocal.mcp.library import Library

        return Library(_LentModels(self._pool, loop), self._collections, shows_paths=False)


class _LentModels:
    """Lends the models of the server to the threads in which tools run."""

    def __init__(self, pool: ModelPool, loop: asyncio.AbstractEventLoop) -> None:
        from jlocal.mcp.models import OwnModels

        self._pool, self._loop = pool, loop
        self._own = OwnModels({})

    @contextmanager
    def lend(self, config: CollectionConfig, path: Path) -> Iterator[Embedder]:
        """Give an open model until the end of the context."""
        from jlocal.collection.opening import model_file

        model = self._pool.for_file(model_file(config, path))
        if model.profile.pooling != config.pooling:
            # The model's file names no pooling; the collection was made with one.
            with self._own.lend(config, path) as embedder:
                yield embedder
            return
        context = self._pool.loaded_model(model)
        embedder = asyncio.run_coroutine_threadsafe(context.__aenter__(), self._loop).result()
        try:
            yield embedder
        finally:
            leaving = context.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(leaving, self._loop).result()

    def close(self) -> None:
        """Close the models that are not the server's."""
        self._own.close()
