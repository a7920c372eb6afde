"""The description of this server's routes, for programs and for people."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from jlocal.server.dialects import json_response
from jlocal.server.openapi import openapi_document
from jlocal.server.reference_page import content_security_policy, page
from jlocal.server.schema import STRING, Doc
from jlocal.server.service import Call, Service, route


def routes(service: Service) -> list[Route]:
    """Return the routes."""
    return [
        route(service, "GET", "/openapi.json", openapi, Doc(answer={"type": "object"})),
        route(service, "GET", "/docs", docs, Doc(answer=STRING, media="text/html")),
    ]


async def openapi(call: Call) -> Response:
    """Describe the routes as OpenAPI 3.1."""
    return json_response(_document(call))


async def docs(call: Call) -> Response:
    """Describe the routes on a page."""
    url = str(call.request.base_url).rstrip("/")
    return Response(
        page(_document(call), url),
        headers={"Content-Security-Policy": content_security_policy()},
        media_type="text/html",
    )


def _document(call: Call) -> dict[str, object]:
    needs_key = call.service.options.api_key is not None
    return openapi_document(call.request.app.routes, needs_key=needs_key)
