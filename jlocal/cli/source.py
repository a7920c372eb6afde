"""The source of `jlocal search`: a collection, a part of it, or an unindexed folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal.cli import flags
from jlocal.cli.options import open_model
from jlocal.cli.scope import Scope
from jlocal.errors import (
    CollectionError,
    EmptyCollectionError,
    MissingCollectionError,
    OtherConfigError,
)
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.cli.interactive import Search
    from jlocal.collection.collection import Collection
    from jlocal.collection.config import CollectionConfig
    from jlocal.collection.search.hits import Hit
    from jlocal.collection.search.ranking import Mode
    from jlocal.embed.embedder import Embedder
    from jlocal.embed.options import ComputeOptions


@dataclass(frozen=True)
class Source:
    """The options that choose the collection, or the files, to search.

    Attributes:
        database: file of the collection.
        model: of the collection, where it is no longer where it was.
        inside: the value of `--in`.
        quiet: do not report on indexing.

    """

    database: Path
    model: str | None
    inside: str | None
    quiet: bool


@dataclass(frozen=True)
class _Known:
    """An open collection, with its config and folders."""

    collection: Collection
    config: CollectionConfig
    folders: tuple[str, ...]


def opened_search(
    stack: ExitStack,
    source: Source,
    compute: ComputeOptions,
    prompts: tuple[str | None, str | None],
    *,
    path: str | None,
    mode: Mode,
    **arguments: Any,
) -> Search:
    """Open a collection and its model until the stack closes; return its search.

    Args:
        stack: closes the collection and the model.
        source: where to look.
        compute: how the model is computed.
        prompts: the prompt's name and the prompt itself, as in `Embedder.encode`.
        path: as in `Collection.search`.
        mode: as in `Collection.search`; words alone need no model.
        arguments: more of `Collection.search`.

    Raises:
        CollectionError, ModelError: every query would fail.

    """
    from jlocal.collection.search.pathfilter import path_filter

    scope = None if source.inside is None else Scope.of(source.inside)
    known = _known(stack, source, is_needed=scope is None)
    part = scope.among(known.folders) if scope and known else None
    unknown = scope if part is None else None
    prompt_name, prefix = prompts
    loader = _Loader(stack.enter_context(ExitStack()), source, compute, prompts)
    if known and not unknown:
        collection = known.collection
        if mode != "words":
            loader.use_its_model(collection)
    else:
        from jlocal.cli.one_shot import collection_of

        assert unknown
        embedder = loader.open(_model(source, known))
        collection = stack.enter_context(collection_of(unknown, embedder, quiet=source.quiet))
        collection.check_model()
    path_matches: Callable[[str], bool] | str | None = path
    if limit := part or scope:
        fits = path_filter(path)
        path_matches = lambda name: limit.holds(name) and fits(name)  # noqa: E731
    search = partial(
        collection.search,
        path=path_matches,
        mode=mode,
        prompt_name=prompt_name,
        prompt=prefix,
        **arguments,
    )
    return search if unknown or source.model else partial(_find, search, collection, loader)


def _find(
    search: Callable[[str], list[Hit]], collection: Collection, loader: _Loader, query: str
) -> list[Hit]:
    """Search; load another model if another process has rebuilt the collection with it."""
    try:
        return search(query)
    except OtherConfigError:
        loader.use_its_model(collection)
        return search(query)


@dataclass(frozen=True)
class _Loader:
    """Loads models, one at a time.

    Attributes:
        stack: closes the model.
        source: where to look.
        compute: how the model is computed.
        prompts: the prompt's name and the prompt itself, which the model must know.

    """

    stack: ExitStack
    source: Source
    compute: ComputeOptions
    prompts: tuple[str | None, str | None]

    def open(self, model: str | None, pooling: str | None = None) -> Embedder:
        """Close the last model, and open this one."""
        self.stack.close()
        quiet = self.source.quiet
        embedder = self.stack.enter_context(
            open_model(None, model, self.compute, pooling=pooling, quiet=quiet)
        )
        # An error that every query would have is raised before the first one.
        name, prefix = self.prompts
        embedder.prompt_text(prefix, name)
        return embedder

    def use_its_model(self, collection: Collection) -> None:
        """Open the model of a collection, or the one that was named, and check it."""
        from jlocal.collection.opening import model_file

        config = collection.config
        model = self.source.model or str(model_file(config, self.source.database))
        collection.use_model(self.open(model, config.pooling))
        collection.check_model()


def _model(source: Source, known: _Known | None) -> str | None:
    """Choose the model for an unindexed folder: named, a collection's, or for None the default."""
    if source.model or known is None:
        return source.model
    path = known.config.model_path
    return path if Path(path).is_file() else None


def _known(stack: ExitStack, source: Source, *, is_needed: bool) -> _Known | None:
    """Open a collection and ask for its config and folders; None where there is none to ask."""
    from jlocal.collection.collection import Collection

    collection = stack.enter_context(Collection(source.database))
    try:
        return _Known(collection, collection.config, tuple(collection.folders()))
    except CollectionError as error:
        if is_needed:
            raise
        if not (source.quiet or isinstance(error, (EmptyCollectionError, MissingCollectionError))):
            log(f"Note: {flags.message(error)}")
        return None
