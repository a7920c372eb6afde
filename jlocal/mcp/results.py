"""Results of the tools; a model reads the descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field


@dataclass(frozen=True)
class FoundPassage:
    """A passage that answers the query, with the place where it stands."""

    collection: Annotated[str, Field(description="name of the collection")]
    document: Annotated[str, Field(description="name of the document; pass it on to `read`")]
    position: Annotated[
        str, Field(description="where the passage begins; pass it on to `read` as it is")
    ]
    line: Annotated[
        int | None,
        Field(description="first line in the file; null for formats without lines, such as PDF"),
    ]
    page: Annotated[int | None, Field(description="page of a PDF file; null for other files")]
    headings: Annotated[
        list[str], Field(description="the headings above the passage, outermost first")
    ]
    excerpt: Annotated[str, Field(description="text of the passage, quoted from the document")]
    is_shortened: Annotated[
        bool, Field(description="whether the passage is longer than the excerpt")
    ]
    score: Annotated[
        float, Field(description="probability that the passage answers the query, from 0 to 1")
    ]
    state: Annotated[
        Literal["current", "changed", "missing"],
        Field(
            description="whether the file was changed or is missing since it was indexed; the "
            "excerpt is the text that was indexed"
        ),
    ]


@dataclass(frozen=True)
class SearchResult:
    """The passages that answer a query, best first."""

    hits: Annotated[list[FoundPassage], Field(description="best first, one of each document")]
    problems: Annotated[
        list[str], Field(description="collections that could not be searched, and why")
    ]


@dataclass(frozen=True)
class ReadResult:
    """A part of a document, as it was when it was indexed."""

    collection: Annotated[str, Field(description="name of the collection")]
    document: Annotated[str, Field(description="name of the document")]
    page: Annotated[int | None, Field(description="page of a PDF file; null for other files")]
    first_line: Annotated[
        int | None, Field(description="line at which the text begins; null without lines")
    ]
    last_line: Annotated[
        int | None, Field(description="line at which the text ends; null without lines")
    ]
    text: Annotated[str, Field(description="text, quoted from the document")]
    previous: Annotated[
        str | None, Field(description="position of the text before; null at the beginning")
    ]
    following: Annotated[
        str | None, Field(description="position at which the document goes on; null at its end")
    ]


@dataclass(frozen=True)
class CollectionInfo:
    """A collection that can be searched."""

    name: str
    documents: int
    passages: int
    model: Annotated[str | None, Field(description="the embedding model; null if it is empty")]
    problem: Annotated[str | None, Field(description="why it cannot be read; null if it can")]


@dataclass(frozen=True)
class CollectionList:
    """The collections that can be searched."""

    collections: list[CollectionInfo]


@dataclass(frozen=True)
class FolderInfo:
    """A folder or file that a collection remembers, compared with the disk."""

    folder: str
    is_there: Annotated[bool, Field(description="whether it exists and can be read")]
    documents: int
    changed: Annotated[int, Field(description="documents whose files have changed")]
    missing: Annotated[int, Field(description="documents whose files are missing")]
    new: Annotated[int, Field(description="files that are not indexed yet")]


@dataclass(frozen=True)
class StatusResult:
    """The content of a collection, and whether it is up to date."""

    collection: str
    documents: int
    passages: int
    model: Annotated[str | None, Field(description="the embedding model; null if it is empty")]
    has_model: Annotated[
        bool, Field(description="whether the model is there; without it, search with mode words")
    ]
    dimensions: int | None
    folders: list[FolderInfo]
    added_texts: Annotated[int, Field(description="documents that are in no file")]
    is_current: Annotated[bool, Field(description="whether no file is new, changed or missing")]
