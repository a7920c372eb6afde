"""Where `jlocal search` looks: in a collection, in a part of it, or in a folder that has none."""

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
    from jlocal.collection.recipe import Recipe


@dataclass(frozen=True)
class Source:
    """What the options say about where to look.

    Attributes:
        database: file of the collection.
        model: of the collection, where it is no longer where it was.
        inside: what `--in` names.
        quiet: do not say what is indexed.

    """

    database: Path
    model: str | None
    inside: str | None
    quiet: bool


@dataclass(frozen=True)
class _Known:
    """What the collection says of itself."""

    recipe: Recipe
    model: str
    folders: tuple[str, ...]


def opened_search(
    stack: ExitStack,
    source: Source,
    compute: dict[str, Any],
    prompts: tuple[str | None, str | None],
    *,
    path: str | None,
    **arguments: Any,
) -> Search:
    """Open a collection and its model until the stack closes; return its search.

    Args:
        stack: closes what is opened.
        source: where to look.
        compute: how the model is computed.
        prompts: the prompt's name and the prompt itself, as in `Embedder.encode`.
        path: as in `Collection.search`.
        arguments: more of `Collection.search`.

    Raises:
        CollectionError, ModelError: what no query can mend.

    """
    from jlocal.collection.collection import Collection
    from jlocal.collection.pathfilter import path_filter

    scope = None if source.inside is None else Scope.of(source.inside)
    known = _known(source, is_needed=scope is None)
    part = scope.among(known.folders) if scope and known else None
    unknown = scope if part is None else None
    pooling = known.recipe.pooling if known and not unknown else None
    embedder = stack.enter_context(
        open_model(
            None,
            known.model if known else source.model,
            quiet=source.quiet,
            pooling=pooling,
            **compute,
        )
    )
    if unknown:
        from jlocal.cli.one_shot import collection_of

        collection = stack.enter_context(collection_of(unknown, embedder, quiet=source.quiet))
    else:
        collection = stack.enter_context(Collection(source.database, embedder))
    prompt_name, prefix = prompts
    # What no query can mend is said before the first one.
    collection.check_model()
    embedder.prompt_text(prefix, prompt_name)
    meant: Callable[[str], bool] | str | None = path
    if limit := part or scope:
        fits = path_filter(path)
        meant = lambda name: limit.holds(name) and fits(name)  # noqa: E731
    return partial(
        collection.search, path=meant, prompt_name=prompt_name, prompt=prefix, **arguments
    )


def _known(source: Source, *, is_needed: bool) -> _Known | None:
    """Ask a collection for its recipe, its model and its folders; None where it is not needed."""
    from jlocal.collection.collection import Collection

    try:
        with Collection(source.database) as collection:
            recipe = collection.recipe
            model = source.model or str(collection.model_file())
            return _Known(recipe, model, tuple(collection.folders()))
    except (EmptyCollectionError, MissingCollectionError):
        if is_needed:
            raise
        return None
