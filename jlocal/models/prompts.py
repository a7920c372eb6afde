"""Which of a model's prompts stands for queries, and which for documents."""

from __future__ import annotations

from collections.abc import Iterable

# By the names that models use, the most usual first.
_QUERY = ("query",)
_DOCUMENT = ("document", "passage", "corpus")


def query_prompt(names: Iterable[str]) -> str | None:
    """Return the name of the prompt for queries; None if there is none."""
    return _first(_QUERY, names)


def document_prompt(names: Iterable[str]) -> str | None:
    """Return the name of the prompt for documents; None if there is none."""
    return _first(_DOCUMENT, names)


def _first(usual: Iterable[str], names: Iterable[str]) -> str | None:
    known = set(names)
    return next((name for name in usual if name in known), None)
