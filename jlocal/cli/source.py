"""The source of `jlocal search`: a collection, a part of it, or an unindexed folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal.cli.options import open_model
from jlocal.cli.scope import Scope
from jlocal.errors import EmptyCollectionError, MissingCollectionError

if TYPE_CHECKING:
    from jlocal.cli.interactive import Search
    from jlocal.collection.collection import Collection
    from jlocal.collection.config import CollectionConfig
    from jlocal.collection.search.ranking import Mode
    from jlocal.embed.options import ComputeOptions


@dataclass(frozen=True)
class Source:
    """The options that choose what to search.

    Attributes:
        database: file of the collection.
        model: of the collection, where it is no longer where it was.
        inside: the value of `--in`.
        quiet: do not report what is indexed.

    """

    database: Path
    model: str | None
    inside: str | None
    quiet: bool


@dataclass(frozen=True)
class _Known:
    """An open collection, and what it says of itself."""

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
        stack: closes what is opened.
        source: where to look.
        compute: how the model is computed.
        prompts: the prompt's name and the prompt itself, as in `Embedder.encode`.
        path: as in `Collection.search`.
        mode: as in `Collection.search`; words alone need no model.
        arguments: more of `Collection.search`.

    Raises:
        CollectionError, ModelError: what no query can mend.

    """
    from jlocal.collection.search.pathfilter import path_filter

    scope = None if source.inside is None else Scope.of(source.inside)
    known = _known(stack, source, is_needed=scope is None)
    part = scope.among(known.folders) if scope and known else None
    unknown = scope if part is None else None
    prompt_name, prefix = prompts
    if known and not unknown and mode == "words":
        collection = known.collection
    else:
        model = _model(source, known, is_its_own=unknown is None)
        pooling = known.config.pooling if known and not unknown else None
        embedder = stack.enter_context(
            open_model(None, model, compute, pooling=pooling, quiet=source.quiet)
        )
        if known and not unknown:
            collection = known.collection
            collection.use_model(embedder)
        else:
            from jlocal.cli.one_shot import collection_of

            assert unknown
            collection = stack.enter_context(collection_of(unknown, embedder, quiet=source.quiet))
        # What no query can mend is said before the first one.
        collection.check_model()
        embedder.prompt_text(prefix, prompt_name)
    meant: Callable[[str], bool] | str | None = path
    if limit := part or scope:
        fits = path_filter(path)
        meant = lambda name: limit.holds(name) and fits(name)  # noqa: E731
    return partial(
        collection.search,
        path=meant,
        mode=mode,
        prompt_name=prompt_name,
        prompt=prefix,
        **arguments,
    )


def _model(source: Source, known: _Known | None, *, is_its_own: bool) -> str | None:
    """Choose the model: the one that is named, the collection's, or for None the default.

    Raises:
        CollectionError: the model must be the collection's own, and is not where it was.

    """
    from jlocal.collection.opening import model_file

    if source.model or known is None:
        return source.model
    if not is_its_own and not Path(known.config.model_path).is_file():
        return None
    return str(model_file(known.config, source.database))


def _known(stack: ExitStack, source: Source, *, is_needed: bool) -> _Known | None:
    """Open a collection and ask for its config and folders; None where there is none to ask."""
    from jlocal.collection.collection import Collection

    collection = stack.enter_context(Collection(source.database))
    try:
        return _Known(collection, collection.config, tuple(collection.folders()))
    except (EmptyCollectionError, MissingCollectionError):
        if is_needed:
            raise
        return None
