"""Starting a server: its models are loaded while the rest of it is imported."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from jlocal.server.listening import listen, passed_socket, url_of
from jlocal.server.options import ServerOptions
from jlocal.server.service import Service
from jlocal.waiting import result_of

if TYPE_CHECKING:
    import uvicorn


def serve(
    options: ServerOptions,
    on_ready: Callable[[str], None],
    *,
    logs: bool = True,
    on_start: Callable[[uvicorn.Server], None] | None = None,
) -> None:
    """Serve until a signal ends it; running requests are finished first.

    Args:
        options: the models and collections to serve, and the address.
        on_ready: called with the URL when requests are taken.
        logs: write a line to stderr for each request.
        on_start: called with uvicorn's server, whose `should_exit` ends it as a signal does.

    Raises:
        ModelError: a model cannot be found or loaded.
        AddressError: the address cannot be listened on.

    """
    service = Service(options)
    listener = passed_socket() or listen(options.host, options.port)
    with ThreadPoolExecutor(1, "load") as thread:
        loading = None
        if options.models and not options.is_lazy:
            # Before the thread starts: two threads should not import the same modules at once.
            import jlocal.embed.embedder  # noqa: F401

            loading = thread.submit(service.pool.load_first)
        from jlocal.server.app import create_app
        from jlocal.server.loop import run

        app = create_app(service, logs=logs)
        if loading:
            result_of(loading)
    run(app, options, listener, lambda: on_ready(url_of(listener)), on_start)
