"""The search page, for people."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from jlocal.server.page import page
from jlocal.server.schema import STRING, Doc
from jlocal.server.service import Call, Service, route


def routes(service: Service) -> list[Route]:
    """Return the route."""
    return [route(service, "GET", "/", search_page, Doc(answer=STRING, media="text/html"))]


async def search_page(call: Call) -> Response:
    """Return the page, which asks the routes of this server as any client does."""
    del call
    html, policy = page()
    return Response(html, headers={"Content-Security-Policy": policy}, media_type="text/html")
