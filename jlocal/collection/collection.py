"""Collection: the public object over a file of embedded texts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from jlocal.collection.check import check_files
from jlocal.collection.chunks import check_size
from jlocal.collection.compact import Compaction, compact
from jlocal.collection.dry_run import dry_run as plan_run
from jlocal.collection.index import run
from jlocal.collection.locations import collection_path, make_place
from jlocal.collection.lock import sole_indexer
from jlocal.collection.pathfilter import PathFilter
from jlocal.collection.readers import Readers
from jlocal.collection.recipe import Recipe
from jlocal.collection.report import OnFailure, OnProgress, Report
from jlocal.collection.search import MODES, Hit, Mode, search
from jlocal.collection.store import Store
from jlocal.collection.survey import Choice
from jlocal.embedder import Embedder
from jlocal.encodings import known
from jlocal.errors import ArgumentError, CollectionError, EmptyCollectionError, JlocalError
from jlocal.models.chunking import chunking_of
from jlocal.printable import printable
from jlocal.progress import OnTexts
from jlocal.terms import Argument

_MODEL, _CHUNK, _OVERLAP = Argument("model"), Argument("chunk"), Argument("overlap")


# What `index` was asked for: chunk, overlap, fields, prompt_name, prompt and truncate_dim.
_Asked = tuple[
    "int | Literal['auto'] | None",
    "int | None",
    Sequence[str],
    "str | None",
    "str | None",
    "int | None",
]


class Collection:
    """Texts and their vectors in one SQLite file; thread-safe, and a context manager.

    A collection has one model, prompt, dimension and way of cutting texts, which the first
    `index` settles. The model is loaded when it is first needed. Any thread may search while
    another indexes, and finds what is finished. What was written survives a killed process and a
    power cut; the texts that were being embedded, a few hundred at most, are embedded again by
    the next `index`.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        model: str | Path | Embedder | None = None,
        **options: Any,
    ) -> None:
        """Name a collection; nothing is opened yet.

        Args:
            path: the file, or the name of a collection in jlocal's own folder; `index` makes it.
                None is the default collection.
            model: an open model, which stays open, or where its GGUF file is; None takes the one
                that the collection was made with.
            options: more arguments of `Embedder`.

        """
        self.path = collection_path(path)
        self._given, self._options = model, options
        self._readers = Readers(self.path)
        self._loading = threading.Lock()
        self._model: Embedder | None = model if isinstance(model, Embedder) else None
        self._model_sha256 = ""

    def close(self) -> None:
        """Close the file, and the model if it was loaded here. Idempotent.

        What other threads are doing ends with a CollectionError, as does all later use; what they
        have written stays.
        """
        self._readers.close()
        with self._loading:
            model, self._model = self._model, None
        if model and model is not self._given:
            model.close()

    def __enter__(self) -> Collection:
        self._readers.check()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _unless_closed(self) -> Iterator[None]:
        """Say of what fails because of `close` that this is why."""
        self._readers.check()
        try:
            yield
        except JlocalError:
            self._readers.check()
            raise

    def made_with(self) -> Recipe | None:
        """Say how the vectors are made; None where nothing was indexed yet.

        Raises:
            CollectionError: the file is no collection.

        """
        self._readers.check()
        check_files(self.path)
        if not self.path.exists() or not self.path.stat().st_size:
            return None
        try:
            with self._readers.one() as store:
                return _made_with(store)
        except EmptyCollectionError:  # as a full disk leaves the file of a first run
            return None

    def model_file(self) -> Path:
        """Find the model that the collection was made with, where it was last seen.

        Raises:
            CollectionError: there is no collection, nothing in it, or no model there any more.

        """
        return self._model_file(self.made_with() or self.recipe)

    def _model_file(self, made: Recipe) -> Path:
        path = Path(made.model_path)
        if not path.is_file():
            raise CollectionError(
                f"{self.path} was made with {printable(str(path))}, which is no longer there; name "
                f"the file with {_MODEL}",
                _MODEL,
            )
        return path

    def check_model(self) -> None:
        """Load the model and check that it made this collection, as the first search would.

        Raises:
            CollectionError: there is no collection, or another model made it.
            ModelError: the model cannot be found or loaded.

        """
        with self._unless_closed():
            self._load(self.recipe)

    @property
    def recipe(self) -> Recipe:
        """How the vectors are made.

        Raises:
            CollectionError: there is no collection, or nothing in it.

        """
        with self._readers.one() as store:
            recipe = store.recipe()
            if recipe is None or not store.has_documents():
                raise EmptyCollectionError(self.path)
        return recipe

    def index(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        gitignore: bool = True,
        prune: bool = False,
        large: bool = False,
        chunk: int | Literal["auto"] | None = "auto",
        overlap: int | None = None,
        fields: Sequence[str] = (),
        encoding: str | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        wait: float = 10,
        dry_run: bool = False,
        on_failure: OnFailure | None = None,
        on_texts: OnTexts | None = None,
        on_progress: OnProgress | None = None,
    ) -> Report:
        """Embed files that are new or changed, and remove the documents of deleted files.

        What is not given is as the collection was made; what is given must agree with it. The
        texts and vectors of removed and of changed documents stay in the file, and need not be
        computed again when they come back, until `compact` deletes them. What is done is written
        every few seconds.

        In folders, files that are not text, have none, or need an extra that is not installed are
        skipped, and so are files of more than 250,000 tokens, unless they were named by themselves
        or are in the collection already.

        Args:
            paths: files and folders. Documents below them whose files are no longer there, or no
                longer chosen, are removed; but where a path is missing, cannot be read, or has no
                file left, its documents are kept and it is one of the failures.
            include: globs that files in folders must match, as in `jlocal.documents.find_files`.
            exclude: globs of files and folders that are left out.
            gitignore: leave out what .gitignore files name.
            prune: remove documents also where a path is missing or has no file left.
            large: take files of folders however many tokens they have.
            chunk: cut texts to at most so many tokens, the prompt included; "auto" is the size
                that suits the model. None keeps each text whole, and one above the context fails.
            overlap: how many tokens of a chunk's end come again in the next; by default none.
            fields: of .jsonl, .ndjson, .json, .csv and .tsv files, the fields to embed of each
                record. A bad record is reported, in each run, and the others are taken in.
            encoding: of texts that are not UTF-8, for example "cp1252"; guessed if None, and
                where the guess is not certain, the file is reported.
            prompt_name: as in `Embedder.encode`; by default the one for documents.
            prompt: as in `Embedder.encode`.
            truncate_dim: length of the vectors.
            wait: how many seconds to wait for another indexer of this collection.
            dry_run: write nothing; `Report.plan` says what would be done, and its cost.
            on_failure: called with each file that is not taken in.
            on_texts: called with the texts and tokens done since the last call.
            on_progress: called with how far the run has come, a few times a second.

        Raises:
            ArgumentError: the model or the collection cannot do what is asked.
            CollectionError: the file cannot be written, is in use, or was made in another way.
            ModelError: the model cannot be loaded, or cannot compute.

        """
        chosen = [paths] if isinstance(paths, (str, Path)) else list(paths)
        named = None if encoding is None else known(encoding)
        choice = Choice(chosen, include, exclude, gitignore, prune, large)
        asked = chunk, overlap, fields, prompt_name, prompt, truncate_dim
        if dry_run:
            return self._dry_run(choice, asked, named, on_failure, on_progress)
        make_place(self.path)
        with (
            self._unless_closed(),
            sole_indexer(self.path, wait),
            contextlib.closing(Store(self.path, create=True)) as store,
        ):
            # Where there are no vectors, there is nothing to mix with.
            made = _made_with(store)
            model = self._load(made)
            sha256 = store.sha256_of_model(model.profile.path)
            recipe = self._settle(model, sha256, made, asked)
            store.check_links()
            if recipe != store.recipe():
                store.set_recipe(recipe)
            on_texts = self._until_closed(on_texts)
            report = run(store, model, recipe, choice, named, on_failure, on_texts, on_progress)
            # From here on the file can be copied without its log, although others may read it.
            store.checkpoint()
            return report

    def _dry_run(
        self,
        choice: Choice,
        asked: _Asked,
        encoding: str | None,
        on_failure: OnFailure | None,
        on_progress: OnProgress | None,
    ) -> Report:
        with self._unless_closed(), contextlib.ExitStack() as stack:
            made = self.made_with()
            model = self._load(made)
            recipe = self._settle(model, made.model_sha256 if made else "", made, asked)
            store = stack.enter_context(self._readers.one()) if made else None
            return plan_run(
                self.path, store, model, recipe, choice, encoding, on_failure, on_progress
            )

    def _settle(self, model: Embedder, sha256: str, made: Recipe | None, asked: _Asked) -> Recipe:
        """Settle how vectors are made, and check that they can be, and agree with what is there."""
        recipe = _recipe(model, sha256, made, *asked)
        if made:
            made.check_same(recipe, str(self.path))
        try:
            _check_chunks(recipe, model)
        except ArgumentError as error:
            if not made:
                raise
            raise CollectionError(f"{self.path} cannot be added to: {error}") from None
        return recipe

    def _until_closed(self, on_texts: OnTexts | None) -> OnTexts:
        """Report progress, and let `close` end the work between two batches."""

        def report(texts: int, tokens: int) -> None:
            self._readers.check()
            if on_texts:
                on_texts(texts, tokens)

        return report

    def compact(self, wait: float = 10) -> Compaction:
        """Delete the texts that are in no document, and give their space back to the disk.

        Args:
            wait: how many seconds to wait for an indexer of this collection.

        Raises:
            CollectionError: there is no such file, or it cannot be written, or is in use.

        """
        with (
            self._unless_closed(),
            contextlib.closing(Store(self.path)) as store,
            sole_indexer(self.path, wait),
        ):
            return compact(store)

    def search(
        self,
        query: str,
        n: int = 10,
        path: PathFilter | None = None,
        *,
        mode: Mode = "both",
        min_score: float | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[Hit]:
        """Find what is nearest to a query, best first, each document or PDF page once.

        Args:
            query: what to look for.
            n: the most hits.
            path: a glob: without a slash the name of a file or of a folder above it, with one the
                end of a path; or a function that tells of a path whether it is meant.
            mode: what is compared: "words", "meaning" or "both".
            min_score: the least cosine.
            prompt_name: as in `Embedder.encode`; by default the one for queries.
            prompt: as in `Embedder.encode`.

        Raises:
            ArgumentError: the query is empty, or the model has no such prompt.
            CollectionError: there is no such collection, or another model made it.
            ModelError: the model cannot be found or loaded.
            TextError: the query cannot be embedded.

        """
        if not query.strip():
            raise ArgumentError("the query is empty")
        if n < 1:
            raise ArgumentError(f"n={n}; it is at least 1")
        if mode not in MODES:
            raise ArgumentError(f"mode={mode!r}; choose one of: {', '.join(MODES)}")
        if mode == "words":
            raise ArgumentError("this collection has no index of words yet; use mode='meaning'")
        with self._unless_closed():
            recipe = self.recipe
            vector = self._load(recipe).encode_query(
                query, prompt_name, prompt, truncate_dim=recipe.dimensions
            )
            with self._readers.one() as store:
                return search(store, vector, n, path, min_score)

    def _load(self, made: Recipe | None) -> Embedder:
        """Return the model, loaded once, after a check that it made the collection."""
        with self._loading:
            self._readers.check()
            if self._model is None:
                source = None if isinstance(self._given, Embedder) else self._given
                if source is None and made:
                    source = self._model_file(made)
                if source is None:
                    raise CollectionError(f"{self.path} is new; name a model with {_MODEL}", _MODEL)
                pooling = {"pooling": made.pooling} if made else {}
                self._model = Embedder(source, **pooling | self._options)
            path = self._model.profile.path
            if made and not self._model_sha256:
                with self._readers.one() as store:
                    self._model_sha256 = store.sha256_of_model(path)
            if made:
                made.check_model(str(path), self._model_sha256, str(self.path))
                made.check_dimensions(self._model.profile.dimensions, str(self.path))
            return self._model


def _made_with(store: Store) -> Recipe | None:
    return store.recipe() if store.has_documents() or store.has_passages() else None


def _recipe(
    model: Embedder,
    sha256: str,
    made: Recipe | None,
    chunk: int | Literal["auto"] | None,
    overlap: int | None,
    fields: Sequence[str],
    prompt_name: str | None,
    prompt: str | None,
    truncate_dim: int | None,
) -> Recipe:
    """Settle how vectors are made: as asked, else as they were made, else by default."""
    if prompt is None and prompt_name is None:
        names = ("document", "passage", "corpus")
        prompt_name = next((name for name in names if name in model.prompts), None)
        prompt = made.prompt if made else None
    default = chunking_of(model.profile)
    if chunk == "auto":
        chunk = made.chunk if made else default.tokens
    if overlap is None:
        overlap = made.overlap if made and made.chunk == chunk else default.overlap if chunk else 0
    return Recipe(
        model=model.profile.name,
        model_path=str(model.profile.path.absolute()),
        model_sha256=sha256,
        pooling=model.profile.pooling,
        prompt=model.prompt_text(prompt, prompt_name),
        dimensions=truncate_dim or (made.dimensions if made else model.get_embedding_dimension()),
        precision="float32",
        compute_type=made.compute_type if made else model.compute_type,
        chunk=chunk,
        overlap=overlap,
        fields=tuple(fields) or (made.fields if made else ()),
        headings=made.headings if made else chunk is not None and default.headings,
    )


def _check_chunks(recipe: Recipe, model: Embedder) -> None:
    if recipe.chunk is None:
        if recipe.overlap:
            raise ArgumentError(f"{_OVERLAP} needs {_CHUNK}", _OVERLAP, _CHUNK)
        return
    check_size(
        recipe.chunk,
        recipe.overlap,
        lambda text: len(model.tokenize(text, recipe.prompt)),
        model.max_seq_length,
    )
