"""Keep a collection up to date with files and folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from jlocal.arguments import listed, of_keywords
from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.lock import sole_indexer
from jlocal.collection.database.store import Store
from jlocal.collection.index.folders import (
    Change,
    Choice,
    Folder,
    choose,
    remembered_by,
)
from jlocal.collection.index.report import Listeners, OnFailure, OnProgress, Report
from jlocal.collection.index.resolve import ConfigOptions, made_with, resolve_same_config
from jlocal.collection.names import make_parent_folder, missing
from jlocal.collection.opening import OpenCollection
from jlocal.errors import ArgumentError, NoFoldersError
from jlocal.inputs.encodings import python_name
from jlocal.progress import OnTexts

# Methods import the modules that read and split files: a search does not need them.
if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.collection.database.compact import Compaction
    from jlocal.collection.index.status import Status
    from jlocal.embed.embedder import Embedder


class IndexArguments(TypedDict, total=False):
    """The rarer keyword arguments of `Collection.index`."""

    include: Sequence[str] | None
    exclude: Sequence[str] | None
    gitignore: bool | None
    large: bool | None
    encoding: str | None
    overlap: int | None
    fields: Sequence[str]
    prompt_name: str | None
    prompt: str | None
    truncate_dim: int | None
    on_texts: OnTexts | None
    on_progress: OnProgress | None


@dataclass(frozen=True)
class _IndexOptions:
    """The arguments of `IndexArguments`, with defaults for the missing ones."""

    include: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    gitignore: bool | None = None
    large: bool | None = None
    encoding: str | None = None
    overlap: int | None = None
    fields: Sequence[str] = ()
    prompt_name: str | None = None
    prompt: str | None = None
    truncate_dim: int | None = None
    on_texts: OnTexts | None = None
    on_progress: OnProgress | None = None

    @property
    def change(self) -> Change:
        """The options that the collection remembers for folders."""
        encoding = None if self.encoding is None else python_name(self.encoding)
        return Change(self.include, self.exclude, self.gitignore, self.large, encoding)

    def config(self, chunk: int | Literal["auto"] | None) -> ConfigOptions:
        """Return how the vectors are made."""
        prompts = self.prompt_name, self.prompt
        return ConfigOptions(chunk, self.overlap, self.fields, *prompts, self.truncate_dim)


class IndexedCollection(OpenCollection):
    """A collection and the folders that it remembers."""

    def index(
        self,
        paths: str | Path | Sequence[str | Path] = (),
        *,
        chunk: int | Literal["auto"] | None = "auto",
        prune: bool = False,
        rebuild: bool = False,
        dry_run: bool = False,
        wait: float = 10,
        on_failure: OnFailure | None = None,
        **more: Unpack[IndexArguments],
    ) -> Report:
        """Embed files that are new or changed, and remove the documents of deleted files.

        The collection remembers the paths, how their files are chosen, and their encoding, so that
        `update` needs no arguments. Remembered folders inside the paths are brought up to date as
        well; the nearest remembered folder governs a file. A path inside a remembered folder is
        remembered separately only if it is given other options, or if the folder leaves it out.

        Arguments that are not given default to the collection's config; given arguments must agree
        with it. The texts and vectors of removed and changed documents stay in the file until
        `compact` deletes them, so that documents that come back are not embedded again. Finished
        documents are written every few seconds.

        In folders, files that are not text, are empty, or need an extra that is not installed are
        skipped, and so are files of more than 250,000 tokens, unless they are named in `paths` or
        are already in the collection.

        Args:
            paths: files and folders; if empty, all remembered paths. Documents below them whose
                files were deleted or are no longer chosen are removed. A path that is missing,
                cannot be read, or has no file left is a failure, and its documents are kept.
            chunk: split texts into chunks of at most this many tokens, the prompt included; "auto"
                is the size that suits the model. None keeps each text whole, and a text above the
                context fails.
            prune: also remove the documents of a path that is missing or has no file left, and
                forget a missing path.
            rebuild: build the collection again from all remembered folders and `paths`, with the
                given arguments in place of its config. The old collection stays in use until the
                new one is complete; the next rebuild uses the vectors of an interrupted one.
            dry_run: write nothing; `Report.plan` lists the changes and their cost.
            wait: how many seconds to wait for another indexer of this collection.
            on_failure: called with each file that is not taken in.
            **more: rarer arguments, as follows.

        Keyword Args:
            include: globs that files in folders must match, as in `jlocal.inputs.walk.find_files`.
                If this, `exclude` or `gitignore` is given, all three are replaced; otherwise they
                stay as remembered, or for a new folder none, none and True.
            exclude: globs of files and folders to leave out.
            gitignore: leave out files that .gitignore files exclude.
            large: index files in folders with any number of tokens; None keeps the remembered
                choice.
            overlap: how many tokens of a chunk's end the next chunk repeats; 0 by default.
            fields: of .jsonl, .ndjson, .json, .csv and .tsv files, the fields to embed of each
                record. Each run reports bad records and indexes the good records.
            encoding: of texts that are not UTF-8, for example "cp1252"; guessed if None, and a file
                whose encoding is not clear is reported.
            prompt_name: as in `Embedder.encode`; by default the one for documents.
            prompt: as in `Embedder.encode`.
            truncate_dim: length of the vectors.
            on_texts: called with the texts and tokens done since the last call.
            on_progress: called with how far the run has come, a few times a second.

        Raises:
            ArgumentError: the model or the collection does not support an option.
            CollectionError: the file cannot be written, is in use, or was made in another way.
            ModelError: the model cannot be loaded, or cannot compute.

        """
        chosen = listed("paths", paths)
        arguments = of_keywords(_IndexOptions, "index", more)
        change, options = arguments.change, arguments.config(chunk)
        listeners = Listeners(
            on_failure, self._until_closed(arguments.on_texts), arguments.on_progress
        )
        if not chosen and change != Change():
            raise ArgumentError(
                "include, exclude, gitignore, large and encoding are options of paths: pass paths",
                argument="paths",
            )
        if dry_run:
            return self._dry_run(chosen, change, options, listeners, prune=prune)
        with self._indexing(wait, create=bool(chosen) and not rebuild) as store:
            remembered = remembered_by(store)
            everything = rebuild or not chosen
            choice = choose(chosen, change, remembered, everything=everything, prune=prune)
            # There may be added texts to make anew.
            if not choice.roots and not rebuild:
                raise NoFoldersError(self.path)
            work = self._rebuild if rebuild else self._run
            return work(store, options, choice, listeners)

    def _dry_run(
        self,
        paths: Sequence[str | Path],
        change: Change,
        options: ConfigOptions,
        listeners: Listeners,
        *,
        prune: bool,
    ) -> Report:
        from jlocal.collection.index.dry_run import dry_run

        with self._unless_closed(), contextlib.ExitStack() as stack:
            made = self.made_with()
            model = self._load(made)
            sha256 = made.model_sha256 if made else ""
            config = resolve_same_config(options, model, sha256, made, self.path)
            store = stack.enter_context(self._readers.one()) if made else None
            remembered = remembered_by(store) if store else {}
            choice = choose(paths, change, remembered, everything=not paths, prune=prune)
            on_failure, on_progress = listeners.on_failure, listeners.on_progress
            return dry_run(self.path, store, model, config, choice, on_failure, on_progress)

    def update(
        self,
        *,
        prune: bool = False,
        wait: float = 10,
        on_failure: OnFailure | None = None,
        on_texts: OnTexts | None = None,
        on_progress: OnProgress | None = None,
    ) -> Report:
        """Bring all remembered folders up to date, as `index` does.

        A missing folder is a failure; all other folders are brought up to date. A single remembered
        file that was deleted is forgotten.

        Args:
            prune: also remove the documents of a folder that is missing or has no file left, and
                forget a missing folder.
            wait: how many seconds to wait for another indexer of this collection.
            on_failure: called with each file that is not taken in.
            on_texts: called with the texts and tokens done since the last call.
            on_progress: called with how far the run has come, a few times a second.

        Raises:
            CollectionError: there is no such collection, it remembers no folders, cannot be
                written, or is in use.
            ModelError: the model cannot be found or loaded, or cannot compute.

        """
        with self._indexing(wait, create=False) as store:
            remembered = remembered_by(store)
            choice = choose((), Change(), remembered, everything=True, prune=prune)
            if not choice.roots:
                raise NoFoldersError(self.path)
            listeners = Listeners(on_failure, self._until_closed(on_texts), on_progress)
            return self._run(store, ConfigOptions(), choice, listeners)

    @contextlib.contextmanager
    def _indexing(self, wait: float, *, create: bool) -> Iterator[Store]:
        """Open the file for writing, locked for this indexer."""
        if create:
            make_parent_folder(self.path)
        elif not self.path.exists():
            raise missing(self.path)
        with (
            self._unless_closed(),
            sole_indexer(self.path, wait),
            contextlib.closing(Store(self.path, create=create)) as store,
        ):
            yield store

    def _run(
        self, store: Store, options: ConfigOptions, choice: Choice, listeners: Listeners
    ) -> Report:
        from jlocal.collection.index.run import run_and_remember

        model, config = self._settled(store, options)
        store.check_links()
        report = run_and_remember(store, model, config, choice, listeners)
        # From here on the file can be copied without its log, even while it is read.
        store.checkpoint()
        return report

    def _settled(self, store: Store, options: ConfigOptions) -> tuple[Embedder, CollectionConfig]:
        """Load the model, and resolve the config."""
        made = made_with(store)
        model = self._load(made)
        sha256 = store.sha256_of_model(model.profile.path)
        config = resolve_same_config(options, model, sha256, made, self.path)
        if config != store.config():
            store.set_config(config)
        return model, config

    def _rebuild(
        self, store: Store, options: ConfigOptions, choice: Choice, listeners: Listeners
    ) -> Report:
        from jlocal.collection.index.rebuild import config_to_rebuild, rebuild

        base = config_to_rebuild(store)
        model = self._load(base if self._given is None else None)
        report = rebuild(store, model, options, choice, listeners)
        self._model_sha256 = store.sha256_of_model(model.profile.path)
        return report

    def folders(self) -> dict[str, Folder]:
        """Return the folders and files that the collection remembers, by absolute path.

        Raises:
            CollectionError: there is no such collection, or it cannot be read.

        """
        with self._unless_closed(), self._readers.one() as store:
            return remembered_by(store)

    def forget(self, folder: str | Path, wait: float = 10) -> int:
        """Forget a folder or file, and remove its documents.

        Args:
            folder: its path, which need not exist any more. If it lies in another remembered
                folder, its documents stay as a part of that folder.
            wait: how many seconds to wait for an indexer of this collection.

        Returns:
            How many documents were removed.

        Raises:
            CollectionError: the collection has no documents of it, cannot be written, or is in use.
            InsideFolderError: it is not remembered itself, but a part of a remembered folder.

        """
        from jlocal.collection.index.forget import forget

        with self._indexing(wait, create=False) as store:
            return forget(store, folder)

    def status(self) -> Status:
        """Compare the collection with its folders, by size and time of the files.

        Raises:
            CollectionError: there is no such collection, or it cannot be read.

        """
        from jlocal.collection.index.status import status_of

        with self._unless_closed(), self._readers.one() as store:
            return status_of(store)

    def _until_closed(self, on_texts: OnTexts | None) -> OnTexts:
        """Report progress, and let `close` end the work between two batches."""

        def report(texts: int, tokens: int) -> None:
            self._readers.check()
            if on_texts:
                on_texts(texts, tokens)

        return report

    def compact(self, wait: float = 10) -> Compaction:
        """Delete the texts that are in no document, and free their disk space.

        Args:
            wait: how many seconds to wait for an indexer of this collection.

        Raises:
            CollectionError: there is no such file, or it cannot be written, or is in use.

        """
        from jlocal.collection.database.compact import compact
        from jlocal.collection.index.rebuild import compact_unfinished

        with (
            self._unless_closed(),
            contextlib.closing(Store(self.path)) as store,
            sole_indexer(self.path, wait),
        ):
            compact_unfinished(store)
            return compact(store)
