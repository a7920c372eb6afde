"""Routes outside the protocols: health, metrics and status of the server."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response
from starlette.routing import Route

from jlocal._version import __version__
from jlocal.server.dialects import json_response
from jlocal.server.schema import BOOLEAN, INTEGER, STRING, Doc, list_of, record, text
from jlocal.server.service import Call, Service, route

_HEALTH = Doc(answer=record({"status": STRING}))
_METRICS = Doc(answer=STRING, media="text/plain")
_STATUS = Doc(
    answer=record(
        {
            "version": STRING,
            "texts": {**INTEGER, "description": "Computed since the server started."},
            "tokens": {**INTEGER, "description": "Computed since the server started."},
            "models": list_of(
                record(
                    {
                        "id": STRING,
                        "loaded": BOOLEAN,
                        "dimensions": INTEGER,
                        "context": INTEGER,
                        "task": text(),
                        "requests": INTEGER,
                        "queued_inputs": INTEGER,
                        "queued_tokens": INTEGER,
                    }
                )
            ),
        }
    )
)


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    return [
        route(service, "GET", "/health", health, _HEALTH),
        route(service, "GET", "/ping", health, _HEALTH),
        route(service, "GET", "/metrics", metrics, _METRICS),
        route(service, "GET", "/status", status, _STATUS),
    ]


async def health(_: Call) -> Response:
    """Say that requests are taken; a server that is stopping refuses connections."""
    return json_response({"status": "ok"})


async def metrics(call: Call) -> Response:
    """Return the counters in Prometheus's text format."""
    return Response(
        call.service.metrics.text(call.service.pool), media_type=CONTENT_TYPE_PLAIN_0_0_4
    )


async def status(call: Call) -> Response:
    """Say which models are loaded, and how much waits in them."""
    models = []
    for model in call.service.pool.all:
        scheduler = model.scheduler
        models.append(
            {
                "id": model.id,
                "loaded": model.embedder is not None,
                "dimensions": model.profile.dimensions,
                "context": model.profile.context,
                "task": model.profile.task,
                "requests": model.users,
                "queued_inputs": scheduler.queued_requests if scheduler else 0,
                "queued_tokens": scheduler.queued_tokens if scheduler else 0,
            }
        )
    metrics = call.service.metrics
    return json_response(
        {
            "version": __version__,
            "texts": metrics.texts,
            "tokens": metrics.tokens,
            "models": models,
        }
    )
