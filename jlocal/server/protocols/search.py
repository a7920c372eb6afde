"""jlocal's own protocol: search the collections of a server, and read their documents."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jlocal.errors import EmptyCollectionError, JlocalError
from jlocal.server.dialects import json_response
from jlocal.server.fields import Fields
from jlocal.server.problem import Problem, invalid, problem_of
from jlocal.server.schema import Doc, flag, number, text, whole
from jlocal.server.schema import texts as text_list
from jlocal.server.search.collections import ServedCollection
from jlocal.server.search.question import Place, Question
from jlocal.server.search.schema import COLLECTIONS, DOCUMENT, HITS, MAP, SCORES
from jlocal.server.search.search import best_first, search
from jlocal.server.service import Call, Service, route

if TYPE_CHECKING:
    from jlocal.collection.document_names import Kind
    from jlocal.collection.search.ranking import Mode

_MOST_HITS = 200
_LONGEST_QUERY = 20_000
_LONGEST_READ = 50_000
_MOST_POINTS = 50_000
_LARGEST = 1 << 53
_MODES: Mapping[str, Mode] = {mode: mode for mode in SCORES}
_KINDS: Mapping[str, Kind] = {"file": "file", "text": "text"}
_LISTS = frozenset({"collections", "folders"})
_WHOLE = frozenset({"n", "record", "start", "end", "before", "after", "limit"})
_COLLECTION = text("The name of a collection; needed where there are several.")
_SEARCH = Doc(
    fields={
        "query": text("What to search for."),
        "q": text("The same."),
        "mode": text("What is compared; both if missing.", _MODES),
        "n": whole("The most hits; 10 if missing.", 1, _MOST_HITS),
        "collection": text("Search this collection."),
        "collections": text_list("Search these collections; all if missing."),
        "folders": text_list("Search only in these folders."),
        "path": text("Search only documents whose paths match this pattern."),
        "min_score": number("Leave out hits below this score."),
        "text": flag("Answer with the whole passages.", default=True),
    },
    example={"query": "ferry at noon"},
    answer=HITS,
)
_DOCUMENT = Doc(
    fields={
        "document": text("The name that a hit has."),
        "collection": _COLLECTION,
        "kind": text("What a hit says; either if missing.", _KINDS),
        "record": whole("What a hit says; 0 if missing.", 0, _LARGEST),
        "start": whole("What a hit says; 0 if missing.", 0, _LARGEST),
        "end": whole("What a hit says.", 0, _LARGEST),
        "before": whole("Characters before the passage.", 0, _LONGEST_READ),
        "after": whole("Characters after the passage.", 0, _LONGEST_READ),
        "query": text("Mark the words of this query."),
    },
    required=("document",),
    example={"document": "notes/ferry.md"},
    answer=DOCUMENT,
)
_MAP = Doc(
    fields={
        "collection": _COLLECTION,
        "limit": whole("The most points; a larger collection is sampled.", 1, _MOST_POINTS),
    },
    example={},
    answer=MAP,
)


def routes(service: Service) -> list[Route]:
    """Return the routes of this protocol; each is asked by GET or by POST."""
    handlers = {
        "/search": (search_collections, _SEARCH),
        "/collections": (list_collections, Doc(answer=COLLECTIONS)),
        "/document": (read_document, _DOCUMENT),
        "/map": (draw_map, _MAP),
    }
    return [
        route(service, method, path, handler, doc)
        for path, (handler, doc) in handlers.items()
        for method in ("GET", "POST")
    ]


async def search_collections(call: Call) -> Response:
    """Search one collection, several, or all."""
    start = time.perf_counter()
    fields, service = _fields(call), call.service
    question = _question(fields)
    chosen = await _chosen(service, fields)
    hits: list[dict[str, object]] = []
    failed: list[dict[str, object]] = []
    for served in chosen:
        try:
            hits += await search(service.collections, service.pool, served, question)
        except EmptyCollectionError:
            if len(chosen) == 1:
                raise
        except (JlocalError, Problem) as error:
            problem = problem_of(error)
            if len(chosen) == 1 or problem.status < 500:
                raise
            failed.append({"collection": served.name, "message": problem.message})
    name, meaning = SCORES[question.mode]
    return json_response(
        {
            "query": question.query,
            "mode": question.mode,
            "score": {"name": name, "meaning": meaning},
            "collections": [served.name for served in chosen],
            "hits": best_first(hits, question.n) if len(chosen) > 1 else hits,
            "failed": failed,
            "seconds": round(time.perf_counter() - start, 4),
        }
    )


async def list_collections(call: Call) -> Response:
    """List the collections and their content."""
    pool = call.service.collections
    listed = []
    for served in await pool.all():
        values: dict[str, object] = {
            "name": served.name,
            "documents": 0,
            "passages": 0,
            "model": None,
            "dimensions": None,
            "folders": [],
            "error": None,
        }
        try:
            contents = await pool.run(served.contents)
            config = contents.config
            values |= {
                "documents": contents.documents,
                "passages": contents.passages,
                "model": config.model if config else None,
                "dimensions": config.dimensions if config else None,
                "folders": [{"name": name, "documents": count} for name, count in contents.folders],
            }
        except EmptyCollectionError:
            pass
        except JlocalError as error:
            values["error"] = problem_of(error).message
        listed.append(values)
    return json_response({"collections": listed})


async def read_document(call: Call) -> Response:
    """Read a passage in its document, as the collection has it."""
    fields, pool = _fields(call), call.service.collections
    served = await _one(call.service, fields)
    document = fields.text("document")
    if not document:
        raise invalid("document is missing: send the name that a hit has", "document")
    start = fields.whole("start", 0, _LARGEST) or 0
    place = Place(
        document,
        _KINDS.get(fields.choice("kind", _KINDS) or ""),
        fields.whole("record", 0, _LARGEST) or 0,
        start,
        max(start, fields.whole("end", 0, _LARGEST) or start),
        _or(fields.whole("before", 0, _LONGEST_READ), 1500),
        _or(fields.whole("after", 0, _LONGEST_READ), 3000),
    )
    return json_response(await pool.run(_read, served, place, fields.text("query")))


async def draw_map(call: Call) -> Response:
    """Lay out the passages of a collection in two dimensions."""
    fields, pool = _fields(call), call.service.collections
    served = await _one(call.service, fields)
    limit = _or(fields.whole("limit", 1, _MOST_POINTS), 10_000)
    return Response(await pool.run(_map, served, limit), media_type="application/json")


def _read(served: ServedCollection, place: Place, query: str | None) -> dict[str, object]:
    from jlocal.server.search.document import read

    return read(served, place, query)


def _map(served: ServedCollection, limit: int) -> bytes:
    from jlocal.server.search.map import map_of

    return map_of(served, limit)


def _question(fields: Fields) -> Question:
    query = fields.text("query") or fields.text("q") or ""
    if not query.strip():
        raise invalid("query is missing: send a text to search for", "query")
    if len(query) > _LONGEST_QUERY:
        raise invalid(f"the query has more than {_LONGEST_QUERY:,} characters", "query")
    return Question(
        query,
        _MODES[fields.choice("mode", _MODES) or "both"],
        _or(fields.whole("n", 1, _MOST_HITS), 10),
        fields.text("path") or None,
        tuple(fields.texts("folders") or ()),
        fields.number("min_score"),
        fields.flag("text", True),
    )


async def _chosen(service: Service, fields: Fields) -> list[ServedCollection]:
    """Return the collections that a request names, or all."""
    names = fields.texts("collections") or []
    if name := fields.text("collection"):
        names = [name, *names]
    if not names:
        return await service.collections.all()
    return [await service.collections.find(name) for name in dict.fromkeys(names)]


async def _one(service: Service, fields: Fields) -> ServedCollection:
    """Return the collection that a request names; it need not where there is only one."""
    if name := fields.text("collection"):
        return await service.collections.find(name)
    served = await service.collections.all()
    if len(served) == 1:
        return served[0]
    raise invalid("collection is missing: send the name of one", "collection")


def _fields(call: Call) -> Fields:
    return call.fields if call.request.method == "POST" else _from_query(call.request)


def _from_query(request: Request) -> Fields:
    """Read the fields of a GET request; a list is a name that is repeated."""
    values: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        if name in _LISTS:
            values[name] = [*request.query_params.getlist(name)]
        elif name in _WHOLE:
            values[name] = int(value) if value.isascii() and value.isdigit() else value
        elif name == "min_score":
            with contextlib.suppress(ValueError):
                values[name] = float(value)
            values.setdefault(name, value)
        elif name == "text":
            values[name] = {"true": True, "false": False}.get(value, value)
        else:
            values[name] = value
    return Fields(values)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
