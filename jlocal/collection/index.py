"""One run over files: embed what is new or changed, and remove the documents of deleted files."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jlocal import extract
from jlocal.collection.batch import Batch, Entry
from jlocal.collection.chunks import Chunk, split, whole
from jlocal.collection.prune import plan
from jlocal.collection.recipe import Recipe
from jlocal.collection.records import kind_of, records_of
from jlocal.collection.store import Store
from jlocal.collection.values import digest_of
from jlocal.documents import Unreadable, read_file
from jlocal.embedder import Embedder
from jlocal.errors import CollectionError, TextError, TextTooLongError
from jlocal.progress import OnTexts
from jlocal.walk import find_files

OnFailure = Callable[[Unreadable], None]

# What is embedded and written together, and so may have to be done again after a crash.
_TEXTS = 256
_CHARACTERS = 200_000
_ROWS = 5000

# A file changed this shortly before it was read can change again without its times telling.
_TICK_NS = 2_000_000_000


@dataclass
class Report:
    """What a run found and did.

    Attributes:
        new: documents that were not in the collection.
        changed: documents whose content is another now.
        unchanged: documents whose content is as it was.
        removed: documents whose files are no longer there, or no longer chosen.
        failed: files and parts of files that are not in the collection because of `failures`, and
            files and folders that are missing or could not be read, whose documents are kept.
        embedded: texts that the model computed; identical ones count once.
        kept: texts that are in no document, of removed and of changed ones. Their vectors stay
            in the file, in case they come back, until `Collection.compact`.
        failures: what failed, and why.

    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    embedded: int = 0
    kept: int = 0
    failures: list[Unreadable] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """Which files are meant; see `documents.find_files`.

    Attributes:
        prune: remove documents also where a path is missing or has no file left.

    """

    paths: Sequence[str | Path]
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    gitignore: bool = True
    prune: bool = False


def run(
    store: Store,
    model: Embedder,
    recipe: Recipe,
    choice: Choice,
    on_failure: OnFailure | None = None,
    on_texts: OnTexts | None = None,
) -> Report:
    """Bring a collection up to date with files.

    Args:
        store: of which this is the only indexer.
        model: the one that the recipe names.
        recipe: how texts become vectors.
        choice: the files. Documents below the chosen folders that are not among them are removed.
        on_failure: called with each file that is not taken in.
        on_texts: called with the texts and tokens done since the last call.

    Raises:
        CollectionError, ModelError: what stops the whole run; what was written before stays.

    """
    return _Run(store, model, recipe, on_failure, on_texts).all(choice)


class _Run:
    def __init__(
        self,
        store: Store,
        model: Embedder,
        recipe: Recipe,
        on_failure: OnFailure | None,
        on_texts: OnTexts | None,
    ) -> None:
        self._store, self._model, self._recipe = store, model, recipe
        self._on_failure, self._on_texts = on_failure, on_texts
        self._report = Report()
        self._seen: set[str] = set()
        self._unread: set[str] = set()  # what lies here could not be looked at
        self._roots: dict[str, str] = {}
        self._empty: dict[str, str] = {}
        self._pending: dict[bytes, str] = {}
        self._characters = 0
        self._bad: dict[bytes, str] = {}
        self._ready: list[tuple[Entry, bool]] = []  # with whether the document is new
        self._batch = Batch()

    def all(self, choice: Choice) -> Report:
        self._roots = {_absolute(path): str(path) for path in choice.paths}
        own = {
            f"{_absolute(self._store.path)}{end}"
            for end in ("", "-wal", "-shm", "-lock", "-journal")
        } - self._roots.keys()
        for item in find_files(
            choice.paths, choice.include, choice.exclude, gitignore=choice.gitignore
        ):
            if isinstance(item, Unreadable):
                self._unlisted(item)
            elif (path := _absolute(item)) not in self._seen and path not in own:
                self._file(item, path)
            if len(self._batch) + len(self._ready) >= _ROWS:
                self._flush()
        self._flush()
        self._prune(prune=choice.prune)
        self._store.settle()
        self._report.kept = self._store.count_kept()
        return self._report

    def _unlisted(self, item: Unreadable) -> None:
        path = _absolute(item.id)
        if item.is_known and path in self._roots:
            self._empty[path] = item.reason
            return
        if not item.is_known:
            self._unread.add(path)
        self._fail(item)

    def _file(self, item: Path, path: str) -> None:
        kind = kind_of(item, self._recipe.fields)
        try:
            stamp = _stamp(item.stat(), extract.READERS.get(kind, kind))
        except (FileNotFoundError, NotADirectoryError):
            if path in self._roots:
                self._empty[path] = _missing(item)
                return
            # Was it deleted since its folder was listed, or did a whole disk go? The next run
            # will know.
            self._unread.add(path)
            self._fail(Unreadable(str(item), _missing(item)))
            return
        except (OSError, ValueError) as error:
            self._unread.add(path)
            self._fail(Unreadable(str(item), getattr(error, "strerror", None) or str(error)))
            return
        self._seen.add(path)
        known = self._store.stamp(path)
        if known and stamp and known[0] == stamp:
            self._report.unchanged += 1
            return
        document = read_file(item)
        if isinstance(document, Unreadable):
            self._fail(document, path if document.is_known else None)
            return
        for loss in document.losses:
            self._fail(loss)
        if document.losses:
            stamp = None  # to be read and reported again
        digest = digest_of(document.text, kind)
        if known and known[1] == digest:
            self._report.unchanged += 1
            self._batch.stamps.append((path, stamp))
            return
        try:
            chunks = () if self._store.has_content(digest) else self._chunks(item, document.text)
        except TextError as error:
            self._fail(Unreadable(str(item), error.reason), path)
            return
        self._ready.append((Entry(path, stamp, digest, chunks), known is None))

    def _chunks(self, path: Path, text: str) -> list[tuple[int, Chunk, bytes]]:
        """Cut a file, and have the texts embedded that are not known."""
        chunks = []
        for record, chunk in self._cut(path, text):
            digest = digest_of(chunk.text)
            chunks.append((record, chunk, digest))
            if digest not in self._pending and not self._store.has_passage(digest):
                self._pending[digest] = chunk.text
                self._characters += len(chunk.text)
                if len(self._pending) >= _TEXTS or self._characters >= _CHARACTERS:
                    self._flush()
        return chunks

    def _cut(self, path: Path, text: str) -> Iterator[tuple[int, Chunk]]:
        limit, overlap = self._recipe.chunk, self._recipe.overlap
        for record in records_of(path, text, self._recipe.fields):
            chunks: Iterable[Chunk] = (
                split(record.text, limit, overlap, self._count, record.line)
                if limit
                else (whole(record.text, record.line),)
            )
            for chunk in chunks:
                # White space has nothing to find.
                if chunk.text.strip():
                    yield record.number, chunk

    @functools.cached_property
    def _count(self) -> Callable[[str], int]:
        model, prompt = self._model, self._recipe.prompt
        return lambda text: len(model.tokenize(text, prompt))

    def _flush(self) -> None:
        """Embed and write what has come together."""
        if self._pending:
            self._embed()
        for entry, is_new in self._ready:
            bad = next((self._bad[d] for _, _, d in entry.chunks if d in self._bad), None)
            if bad:
                self._fail(Unreadable(os.path.relpath(entry.path), bad), entry.path)
                continue
            self._batch.entries.append(entry)
            if is_new:
                self._report.new += 1
            else:
                self._report.changed += 1
        if len(self._batch):
            self._store.write(self._batch)
        self._batch, self._ready = Batch(), []

    def _embed(self) -> None:
        texts = self._pending
        self._pending, self._characters = {}, 0
        passages = {}
        vectors = self._model.stream(
            texts.values(),
            prompt=self._recipe.prompt,
            truncate_dim=self._recipe.dimensions,
            errors="return",
            on_texts=self._on_texts,
        )
        try:
            with contextlib.closing(vectors):
                for (digest, text), vector in zip(texts.items(), vectors, strict=True):
                    if isinstance(vector, TextError):
                        self._bad[digest] = _advice(vector)
                    else:
                        passages[digest] = (text, vector.astype(np.float32, copy=False))
        finally:
            # What was computed before an interruption need not be computed again.
            if passages:
                self._store.write(Batch(passages=passages))
                self._report.embedded += len(passages)

    def _fail(self, failure: Unreadable, known: str | None = None) -> None:
        """Report a failure, and forget what the collection holds of a document that changed."""
        self._report.failed += 1
        self._report.failures.append(failure)
        if known:
            self._batch.removed.append(known)
        if self._on_failure:
            self._on_failure(failure)

    def _prune(self, *, prune: bool) -> None:
        pruning = plan(
            self._store.paths(), self._seen, self._unread, self._roots, self._empty, prune=prune
        )
        if pruning.removed:
            self._store.write(Batch(removed=pruning.removed))
            self._report.removed += len(pruning.removed)
        for failure in pruning.failures:
            self._fail(failure)


def _absolute(path: str | Path) -> str:
    try:
        # Links stay as they are named: `resolve` would follow them.
        return os.path.abspath(path)  # noqa: PTH100
    except FileNotFoundError:
        raise CollectionError(
            f"the working directory was deleted, so that {path} cannot be found; change to another"
        ) from None


def _missing(path: Path) -> str:
    """Say what is not there, once it was looked for in vain."""
    if path.is_symlink():
        return f"a link to {path.readlink()}, which is missing"
    place = "" if path.is_absolute() else f" in {Path.cwd()}"
    return f"no such file or folder{place}"


def _stamp(status: os.stat_result, reader: str) -> str | None:
    """Tell a file's state without reading it, and how it is read.

    None if it may change and keep its times.
    """
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    if time.time_ns() - changed < _TICK_NS:
        return None
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, reader)
    return " ".join(map(str, state)).rstrip()


def _advice(error: TextError) -> str:
    if not isinstance(error, TextTooLongError):
        return error.reason
    return (
        f"has {error.tokens:,} tokens, above the limit of {error.limit:,}; index into a new "
        "collection with chunk=512 (--chunk 512)"
    )
