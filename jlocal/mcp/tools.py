"""The tools, without the protocol: arguments to results."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from jlocal.collection.database.store import Store
from jlocal.collection.location import Location, is_id
from jlocal.errors import (
    ArgumentError,
    CollectionError,
    EmptyCollectionError,
    ExtraError,
    FileError,
    JlocalError,
    MissingCollectionError,
    ModelError,
)
from jlocal.mcp.clean import cleaned, shown_name
from jlocal.mcp.library import Library, Shelf, UnknownError
from jlocal.mcp.results import (
    CollectionInfo,
    CollectionList,
    FolderInfo,
    FoundPassage,
    ReadResult,
    SearchResult,
    StatusResult,
)
from jlocal.printable import printable
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.database.excerpts import Excerpt
    from jlocal.collection.search.hits import Hit
    from jlocal.collection.search.ranking import Mode

MOST_HITS = 50
MOST_CHARACTERS = 20_000
_EXCERPT, _LEAD = 1500, 300
_HEADING = 200
_POSITION = re.compile(r"(\d{1,15}):(\d{1,15})", re.ASCII)
_END = 1 << 53
# Pages of a PDF file without text that are passed over on the way to the one before.
_MOST_EMPTY = 100


def explain(error: Exception, shelf: Shelf | None, *, shows_paths: bool) -> str:
    """Return an error for a model: one line, without paths unless they are shown."""
    if isinstance(error, FileError) and not shows_paths:
        # The messages of these errors name files.
        log(f"mcp: {error}")
        name = shelf.name if shelf else ""
        if isinstance(error, EmptyCollectionError):
            return f"collection {name} is empty; its owner can index a folder into it"
        if isinstance(error, MissingCollectionError):
            return f"there is no collection {name} any more"
        if isinstance(error, ModelError) or shelf is None:
            return f"the model of collection {name} cannot be used; search with mode words"
        return (
            f"collection {name} cannot be read now; its owner can run: jlocal status; "
            "mode words may still find something"
        )
    return printable(str(error))


def search(
    library: Library, query: str, collection: str | None, mode: Mode, n: int, path: str | None
) -> SearchResult:
    """Search one collection or all; of several, those that cannot be searched are named."""
    shelves = library.chosen(collection)
    found: list[tuple[float, FoundPassage]] = []
    problems = []
    for shelf in shelves:
        try:
            hits = library.search(shelf, query, n, path, mode)
            name = shelf.naming()
            found += [(hit.relevance, _passage(hit, shelf, name(hit.path), query)) for hit in hits]
        except (ArgumentError, ExtraError):
            raise
        except JlocalError as error:
            if len(shelves) == 1:
                raise UnknownError(
                    explain(error, shelf, shows_paths=library.shows_paths)
                ) from error
            problems.append(
                f"{shelf.name}: {explain(error, shelf, shows_paths=library.shows_paths)}"
            )
    if problems and len(problems) == len(shelves):
        raise UnknownError("; ".join(problems[:5]))
    found.sort(key=lambda item: -item[0])
    return SearchResult([passage for _, passage in found[:n]], problems)


def _passage(hit: Hit, shelf: Shelf, document: str, query: str) -> FoundPassage:
    text = cleaned(hit.text)
    excerpt = _around(text, query)
    return FoundPassage(
        collection=shelf.name,
        document=document,
        position=f"{hit.record}:{hit.start}",
        line=hit.first_line,
        page=hit.page,
        headings=[" ".join(cleaned(heading).split())[:_HEADING] for heading in hit.headings],
        excerpt=excerpt,
        is_shortened=excerpt != text,
        score=round(hit.relevance, 4),
        state=hit.state,
    )


def _around(text: str, query: str) -> str:
    """Return the part of a long text around the first word of the query."""
    if len(text) <= _EXCERPT:
        return text
    words = sorted({re.escape(word) for word in re.findall(r"\w{3,}", query)}, key=len)
    match = re.search("|".join(reversed(words)), text, re.IGNORECASE) if words else None
    start = max(0, min(match.start() - _LEAD if match else 0, len(text) - _EXCERPT))
    part = text[start : start + _EXCERPT]
    before, after = "… " if start else "", " …" if start + _EXCERPT < len(text) else ""
    return f"{before}{part.strip()}{after}"


def read(
    library: Library,
    document: str,
    collection: str | None,
    position: str | None,
    line: int | None,
    page: int | None,
    before: int,
    characters: int,
) -> ReadResult:
    """Read a part of a document from the collection that has it."""
    shelves = library.chosen(collection)
    for shelf in shelves:
        try:
            path = shelf.find(document)
            if path is not None:
                return _read(
                    shelf, path, _start(shelf, path, position, line, page), before, characters
                )
        except JlocalError as error:
            if len(shelves) == 1:
                raise UnknownError(
                    explain(error, shelf, shows_paths=library.shows_paths)
                ) from error
    where = f"collection {shelves[0].name} has" if len(shelves) == 1 else "no collection has"
    which = "no document" if len(shelves) == 1 else "a document"
    raise UnknownError(
        f"{where} {which} {shown_name(document)[:200]} now; take `document` from a hit of `search`"
    )


def _start(
    shelf: Shelf, path: str, position: str | None, line: int | None, page: int | None
) -> tuple[int, int]:
    if position is not None:
        match = _POSITION.fullmatch(position)
        if not match:
            raise UnknownError(
                f"{shown_name(position)[:40]!r} is no position; take `position` from a hit of "
                "`search`, or `following` from `read`"
            )
        return int(match[1]), int(match[2])
    record = None if page is None else page - 1
    if line is None:
        return record or 0, 0
    place = shelf.collection.find_line(path, line, record)
    if place is None:
        raise UnknownError(f"the document has no text at line {line} or after it")
    return place


def _read(
    shelf: Shelf, path: str, at: tuple[int, int], before: int, characters: int
) -> ReadResult:  # fmt: skip
    record, start = at
    first = max(0, start - before)
    part = shelf.collection.read(path, record, first, characters + start - first)
    if part is None:
        raise UnknownError("the document was removed from the collection meanwhile")
    if not part.length and part.following is None:
        raise UnknownError("the document has no text there; it ends before")
    head = _to_line(part.text, start - first)
    location = Location(
        part.id,
        part.record,
        part.first_line + part.text.count("\n", 0, head),
        part.last_line,
        is_id(part.id),
    )
    first_line, last_line = location.lines
    return ReadResult(
        collection=shelf.name,
        document=shelf.naming()(part.id),
        page=location.page,
        first_line=first_line,
        last_line=last_line,
        text=cleaned(part.text[head:]),
        previous=_previous(shelf, part, part.start + head, characters),
        following=_place(part.following),
    )


def _to_line(text: str, wanted: int) -> int:
    """Return where the first whole line begins in the text before the wanted one; 0 if in none."""
    return 0 if not wanted else text.find("\n", 0, wanted) + 1


def _previous(shelf: Shelf, part: Excerpt, start: int, characters: int) -> str | None:
    if start:
        return _place((part.record, max(0, start - characters)))
    for record in range(part.record - 1, max(-1, part.record - _MOST_EMPTY), -1):
        before = shelf.collection.read(part.id, record, _END, 0)
        if before and before.length:
            return _place((record, max(0, before.length - characters)))
    return None


def _place(at: tuple[int, int] | None) -> str | None:
    return None if at is None else f"{at[0]}:{at[1]}"


def list_collections(library: Library) -> CollectionList:
    """List the collections, also those that cannot be read."""
    return CollectionList([_info(library, shelf) for shelf in library.shelves()])


def _info(library: Library, shelf: Shelf) -> CollectionInfo:
    try:
        with contextlib.closing(Store(shelf.path)) as store:
            config = store.config()
            model = shown_name(config.model) if config else None
            return CollectionInfo(
                shelf.name, store.count_documents(), store.count_passages(), model, None
            )
    except EmptyCollectionError:
        return CollectionInfo(shelf.name, 0, 0, None, None)
    except CollectionError as error:
        problem = explain(error, shelf, shows_paths=library.shows_paths)
        return CollectionInfo(shelf.name, 0, 0, None, problem)


def status(library: Library, collection: str | None) -> StatusResult:
    """Compare a collection with its folders."""
    shelves = library.chosen(collection)
    if len(shelves) > 1:
        names = ", ".join(shelf.name for shelf in shelves[:20])
        raise UnknownError(f"name the collection; choose: {names}")
    (shelf,) = shelves
    try:
        known, name = shelf.collection.status(), shelf.naming()
    except JlocalError as error:
        raise UnknownError(explain(error, shelf, shows_paths=library.shows_paths)) from error
    folders = [
        FolderInfo(
            name(folder.path), folder.is_there, folder.documents, folder.changed, folder.missing,
            folder.new,
        )
        for folder in known.folders
    ]  # fmt: skip
    return StatusResult(
        collection=shelf.name,
        documents=known.documents,
        passages=known.passages,
        model=shown_name(known.config.model) if known.config else None,
        has_model=known.has_model,
        dimensions=known.config.dimensions if known.config else None,
        folders=folders,
        added_texts=known.added,
        is_current=all(
            folder.is_there and not (folder.new or folder.changed or folder.missing)
            for folder in folders
        ),
    )
