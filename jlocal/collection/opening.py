"""A collection's file and its model, each opened on first use."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, TypeVar, cast

from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.check import COLLECTION
from jlocal.collection.database.readers import Readers
from jlocal.collection.index.resolve import made_with
from jlocal.collection.names import collection_path
from jlocal.errors import CollectionError, EmptyCollectionError, JlocalError
from jlocal.models import names
from jlocal.printable import printable
from jlocal.terms import Argument

# It imports llama.cpp, which a search for words does not need.
if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.embedder import Embedder
    from jlocal.embed.loading import Pooling
    from jlocal.embed.options import EmbedderArguments

_MODEL = Argument("model")
_Self = TypeVar("_Self", bound="OpenCollection")


class OpenCollection:
    """The open file and model of a collection; thread-safe, and a context manager."""

    def __init__(
        self,
        path: str | Path | None = None,
        model: str | Path | Embedder | None = None,
        **options: Unpack[EmbedderArguments],
    ) -> None:
        """Name a collection; open nothing yet.

        Args:
            path: the file, or the name of a collection in jlocal's own folder; `index` makes it.
                None is the default collection.
            model: an open model, which stays open, or the path of its GGUF file; None takes the
                model that made the collection, or for a new collection the default of `Embedder()`.
            **options: more arguments of `Embedder`.

        """
        self.path = collection_path(path)
        self._given, self._options = model, options
        self._readers = Readers(self.path)
        self._loading = threading.Lock()
        self._model: Embedder | None = model if _is_open(model) else None
        self._model_sha256 = ""

    def close(self) -> None:
        """Close the file, and the model if it was loaded here. Idempotent.

        Running calls of other threads end with a CollectionError, as does all later use; documents
        that they have written stay.
        """
        self._readers.close()
        with self._loading:
            model, self._model = self._model, None
        if model and model is not self._given:
            model.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the name, so that the other process opens the file again."""
        self._readers.check()
        return _reopened, (type(self), self.path.absolute(), self._given, self._options)

    def __enter__(self: _Self) -> _Self:
        self._readers.check()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _unless_closed(self) -> Iterator[None]:
        """Turn an error that `close` caused into one that says so."""
        self._readers.check()
        try:
            yield
        except JlocalError:
            self._readers.check()
            raise

    def made_with(self) -> CollectionConfig | None:
        """Return the config; None if nothing was indexed yet.

        Raises:
            CollectionError: the file is not a collection.

        """
        self._readers.check()
        COLLECTION.check_files(self.path)
        if not self.path.exists() or not self.path.stat().st_size:
            return None
        try:
            with self._readers.one() as store:
                return made_with(store)
        except EmptyCollectionError:  # A full disk leaves such a file after a first run.
            return None

    def model_file(self) -> Path:
        """Return the last known path of the model that made the collection.

        Raises:
            CollectionError: there is no collection, nothing in it, or the model is missing.

        """
        return model_file(self.made_with() or self.config, self.path)

    @property
    def model(self) -> Embedder | None:
        """Return the model if one is open."""
        return self._model

    def use_model(self, model: Embedder) -> None:
        """Take an open model, which stays open, in place of the one that would be loaded."""
        with self._loading:
            self._readers.check()
            self._given = self._model = model
            self._model_sha256 = ""

    def check_model(self) -> None:
        """Load the model and check that it made this collection, as the first search would.

        Raises:
            CollectionError: there is no collection, or another model made it.
            ModelError: the model cannot be found or loaded.

        """
        with self._unless_closed():
            self._load(self.config)

    @property
    def config(self) -> CollectionConfig:
        """The config of the collection: how its vectors are made.

        Raises:
            CollectionError: there is no collection, or nothing in it.

        """
        with self._readers.one() as store:
            config = store.config()
            if config is None or not store.has_documents():
                raise EmptyCollectionError(self.path)
        return config

    def _load(self, made: CollectionConfig | None) -> Embedder:
        """Load the model once, after a check that it made the collection; return it."""
        from jlocal.embed.embedder import Embedder

        with self._loading:
            self._readers.check()
            if made and self._given is None and not self._made(made):
                # It was made anew with another model. Other threads may still use this one.
                self._model, self._model_sha256 = None, ""
            if self._model is None:
                source = None if isinstance(self._given, Embedder) else self._given
                if source is None and made:
                    source = model_file(made, self.path)
                source = names.default_model() if source is None else source
                options: EmbedderArguments = self._options
                if made:
                    options = {"pooling": cast("Pooling | None", made.pooling), **options}
                self._model = Embedder(source, **options)
            if made:
                self._made(made)
                path = str(self._model.profile.path)
                made.check_model(path, self._model_sha256, self.path)
                made.check_dimensions(self._model.profile.dimensions, self.path)
            return self._model

    def _made(self, config: CollectionConfig) -> bool:
        """Whether the model that is loaded, if one is, made the vectors."""
        if self._model and not self._model_sha256:
            with self._readers.one() as store:
                self._model_sha256 = store.sha256_of_model(self._model.profile.path)
        return self._model is None or self._model_sha256 == config.model_sha256


def _is_open(model: str | Path | Embedder | None) -> TypeGuard[Embedder]:
    if model is None or isinstance(model, (str, Path)):
        return False
    from jlocal.embed.embedder import Embedder

    return isinstance(model, Embedder)


def _reopened(
    kind: type[_Self], path: Path, model: str | Path | Embedder | None, options: EmbedderArguments
) -> _Self:
    return kind(path, model, **options)


def model_file(made: CollectionConfig, collection: Path) -> Path:
    """Return the last known path of the model that made a collection.

    Raises:
        CollectionError: it is no longer there.

    """
    path = Path(made.model_path)
    if not path.is_file():
        raise CollectionError(
            f"{collection} was made with {printable(str(path))}, which is no longer there; name "
            f"the file with {_MODEL}",
            _MODEL,
        )
    return path
