"""Shell completion of the names of models; see docs/completion.md."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from jlocal.errors import JlocalError


def complete_model(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Complete the names of models on this machine, and files."""
    from jlocal.models.names import local_names

    names: list[str] = []
    with suppress(JlocalError, OSError):
        names = local_names()
    return [*_matching(names, typed), CompletionItem(typed, type="file")]


def complete_installed(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Complete the names of models on this machine that can be removed."""
    from jlocal.models.registry import installed

    names: list[str] = []
    with suppress(JlocalError, OSError):
        names = [model.name for model in installed()]
    return _matching(names, typed)


def complete_published(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Complete the names of models in the catalogue, and after a colon their types."""
    from jlocal.gguf.types import KNOWN_FILE_TYPES
    from jlocal.models.catalogue import MODELS

    name, colon, _ = typed.partition(":")
    names = [f"{name}:{kind}" for kind in KNOWN_FILE_TYPES] if colon else ["small", "nano", *MODELS]
    return _matching(names, typed)


def _matching(names: Iterable[str], typed: str) -> list[CompletionItem]:
    start = typed.casefold()
    return [CompletionItem(name) for name in names if name.casefold().startswith(start)]
