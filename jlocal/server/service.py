"""The state that all routes of a server share, and the way from a request to an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jlocal.server.access import log
from jlocal.server.dialects import error_response
from jlocal.server.fields import Fields, parse
from jlocal.server.metrics import Metrics
from jlocal.server.models import ModelPool, ServedModel, Side
from jlocal.server.options import ServerOptions
from jlocal.server.problem import Kind, Problem, invalid, problem_of
from jlocal.server.schema import Doc
from jlocal.server.search.collections import CollectionPool

if TYPE_CHECKING:
    from jlocal.embed.prepare import Truncation
    from jlocal.server.embedding import Embedded


@dataclass(frozen=True)
class Prompt:
    """Which prefix the texts of a request get.

    Attributes:
        side: the prompt for queries or for documents; None leaves it to `name`.
        name: a prompt of the model; None takes its default prompt.

    """

    side: Side | None = None
    name: str | None = None


class Service:
    """A server without its routes: its options, models and counters."""

    def __init__(self, options: ServerOptions) -> None:
        """Find the models; none is loaded yet.

        Raises:
            ModelError: a model cannot be found.

        """
        self.options = options
        self.metrics = Metrics()
        self.pool = ModelPool(options, self.metrics.count_batch)
        self.collections = CollectionPool(options)

    async def close(self) -> None:
        """Close all collections, and free all models."""
        await self.collections.close()
        await self.pool.close()

    def check_count(self, count: int, parameter: str) -> None:
        """Raise Problem if a request has more inputs than it may."""
        limit = self.options.limits.inputs
        if count > limit:
            raise invalid(f"{count:,} inputs, and a request takes {limit:,}", parameter)

    async def embed(
        self,
        model: ServedModel,
        inputs: Sequence[str | Sequence[int]],
        prompt: Prompt,
        *,
        truncation: Truncation | None = None,
        dimensions: int | None = None,
    ) -> Embedded:
        """Embed the inputs of a request.

        Args:
            model: the model.
            inputs: texts, or sequences of token ids.
            prompt: the prefix of the texts.
            truncation: the side on which a text that is too long loses tokens; None is an error.
            dimensions: how many leading components will be kept; None for all.

        Raises:
            Problem, JlocalError: the inputs cannot be embedded.

        """
        self.check_count(len(inputs), "input")
        full = model.profile.dimensions
        if dimensions is not None and not 0 < dimensions <= full:
            raise invalid(f"{model.id} has {full:,} dimensions, not {dimensions:,}", "dimensions")
        async with self.pool.loaded_model(model) as embedder:
            # It stands on numpy and llama.cpp, which the thread that loaded the model has imported.
            from jlocal.server.embedding import Work, embed

            name = model.prompt_name(prompt.side) or prompt.name
            work = Work(
                inputs,
                embedder.prompt_text(None, name),
                truncation,
                dimensions or full,
                prompt.side == "query" or len(inputs) == 1,
            )
            embedded = await embed(embedder, work)
        self.metrics.count(embedded)
        return embedded


@dataclass(frozen=True)
class Call:
    """One request to a route.

    Attributes:
        service: the server.
        fields: the JSON object in its body.
        request: the request, for its headers and query.

    """

    service: Service
    fields: Fields
    request: Request


Handler = Callable[[Call], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class DescribedRoute(Route):
    """A route that the document of the server describes.

    Attributes:
        handler: answers its requests.
        method: of its requests.
        doc: the description of its requests and answers.

    """

    def __init__(
        self, path: str, endpoint: Endpoint, *, handler: Handler, method: str, doc: Doc
    ) -> None:
        super().__init__(path, endpoint, methods=[method], name=f"{method} {path}")
        self.handler, self.method, self.doc = handler, method, doc


def route(
    service: Service, method: str, path: str, handler: Handler, doc: Doc | None = None
) -> DescribedRoute:
    """Make the route of a handler; an error becomes an answer of its protocol."""

    async def endpoint(request: Request) -> Response:
        try:
            fields = parse(await request.body()) if method == "POST" else Fields({})
            return await handler(Call(service, fields, request))
        except Exception as error:
            problem = problem_of(error)
            if problem.kind in (Kind.INTERNAL, Kind.UNAVAILABLE):
                log(f"{path}: {type(error).__name__}: {error}")
            if problem.kind is Kind.INTERNAL and not isinstance(error, Problem):
                raise
            return error_response(path, problem)

    return DescribedRoute(path, endpoint, handler=handler, method=method, doc=doc or Doc())
