"""One run over files: embed what is new or changed, and remove the documents of deleted files."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jlocal import extract
from jlocal.collection.batch import Batch, Entry
from jlocal.collection.chunks import Chunk, split, whole
from jlocal.collection.place import Place
from jlocal.collection.prune import plan
from jlocal.collection.recipe import Recipe
from jlocal.collection.records import BadRecord, Record, has_records, kind_of, records_of
from jlocal.collection.report import Report
from jlocal.collection.store import Store
from jlocal.collection.values import digest_of
from jlocal.documents import Document, Unreadable, read_file
from jlocal.embedder import Embedder
from jlocal.errors import CollectionError, TextError, TextTooLongError
from jlocal.progress import OnTexts
from jlocal.terms import Argument, Message
from jlocal.walk import find_files

OnFailure = Callable[[Unreadable], None]

# What the names of the files of a collection add to its own.
_OWN_ENDINGS = ("", "-wal", "-shm", "-lock", "-journal")

# What is embedded and written together, and so may have to be done again after a crash.
_TEXTS = 256
_CHARACTERS = 200_000
_ROWS = 5000

# How many bad records of a file are named; the others are counted.
_NAMED_RECORDS = 20
# What stands before the name of an encoding in a stamp.
_READ_AS = "encoding="

# A file changed this shortly before it was read can change again without its times telling.
_TICK_NS = 2_000_000_000


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
    encoding: str | None = None,
    on_failure: OnFailure | None = None,
    on_texts: OnTexts | None = None,
) -> Report:
    """Bring a collection up to date with files.

    Args:
        store: of which this is the only indexer.
        model: the one that the recipe names.
        recipe: how texts become vectors.
        choice: the files. Documents below the chosen folders that are not among them are removed.
        encoding: of texts that are not UTF-8, as `encodings.known` names it; None guesses it.
        on_failure: called with each file that is not taken in.
        on_texts: called with the texts and tokens done since the last call.

    Raises:
        CollectionError, ModelError: what stops the whole run; what was written before stays.

    """
    return _Run(store, model, recipe, encoding, on_failure, on_texts).all(choice)


class _Run:
    def __init__(
        self,
        store: Store,
        model: Embedder,
        recipe: Recipe,
        encoding: str | None,
        on_failure: OnFailure | None,
        on_texts: OnTexts | None,
    ) -> None:
        self._store, self._model, self._recipe = store, model, recipe
        self._encoding = encoding
        self._on_failure, self._on_texts = on_failure, on_texts
        self._report = Report()
        self._seen: set[str] = set()
        self._unread: set[str] = set()  # what lies here could not be looked at
        self._roots: dict[str, str] = {}
        self._empty: dict[str, str] = {}
        self._pending: dict[bytes, str] = {}
        self._characters = 0
        self._bad: dict[bytes, str] = {}
        # With the digest of what there is of the document; None if it is new.
        self._ready: list[tuple[Entry, bytes | None]] = []
        self._batch = Batch()

    def all(self, choice: Choice) -> Report:
        self._roots = {_absolute(path): str(path) for path in choice.paths}
        for item in find_files(
            choice.paths, choice.include, choice.exclude, gitignore=choice.gitignore
        ):
            if isinstance(item, Unreadable):
                self._unlisted(item)
            elif (path := _absolute(item)) not in self._seen and (
                path in self._roots or not self._is_own(item)
            ):
                self._file(item, path)
            if len(self._batch) + len(self._ready) >= _ROWS:
                self._flush()
        self._flush()
        self._prune(prune=choice.prune)
        self._store.settle()
        self._report.kept = self._store.count_kept()
        return self._report

    def _is_own(self, item: Path) -> bool:
        """Whether a file is the collection's own; a link may lead to its folder."""
        own = self._store.path
        if item.name not in {f"{own.name}{ending}" for ending in _OWN_ENDINGS}:
            return False
        return os.path.realpath(item.parent) == os.path.realpath(own.parent)

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
            reader = extract.READERS.get(kind, kind)
            stamp = _stamp(item.stat(), reader, self._encoding)
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
        if known and stamp and _is_same(known[0], stamp, self._encoding):
            self._report.unchanged += 1
            return
        document = read_file(item, self._encoding, in_records=has_records(kind))
        if isinstance(document, Unreadable):
            self._fail(document, path if document.is_known else None)
            return
        try:
            self._document(item, document, kind, Entry(path, stamp, b""), known and known[1])
        except TextError as error:
            self._fail(Unreadable(str(item), error.reason), path)

    def _document(
        self, item: Path, document: Document, kind: str, entry: Entry, known: bytes | None
    ) -> None:
        """Take in what was read from a file.

        Args:
            item: the file, as it is called in reports.
            document: what was read.
            kind: as of `records.kind_of`.
            entry: its path and stamp.
            known: digest of what the collection holds of it; None if it is new.

        Raises:
            TextError: nothing of it can be taken in.

        """
        if document.encoding:
            self._report.encodings[document.encoding] += 1
        digest = digest_of(document.text, kind)
        bad: list[BadRecord] = []
        chunks: list[tuple[int, Chunk, bytes]] = []
        records = self._records(item, document.text, bad)
        if not self._store.has_content(digest):
            chunks = self._chunks(records)
        elif has_records(kind):
            collections.deque(records, maxlen=0)
        losses = (*document.losses, *_named(item, bad))
        for loss in losses:
            self._fail(loss)
        # Where something is lost, it is to be read and reported again.
        stamp = None if losses else entry.stamp
        if known == digest:
            self._report.unchanged += 1
            self._batch.stamps.append((entry.path, stamp))
        else:
            self._ready.append((Entry(entry.path, stamp, digest, chunks), known))

    def _records(self, path: Path, text: str, bad: list[BadRecord]) -> Iterator[Record]:
        """Yield the records of a file, and collect the bad ones; some must be good."""
        found = False
        for record in records_of(path, text, self._recipe.fields):
            if isinstance(record, Record):
                found = True
                yield record
            else:
                bad.append(record)
        if bad and not found:
            raise TextError(f"no record can be taken in; line {bad[0].line} {bad[0].reason}")

    def _chunks(self, records: Iterable[Record]) -> list[tuple[int, Chunk, bytes]]:
        """Cut records, and have the texts embedded that are not known."""
        chunks = []
        for record, chunk in self._cut(records):
            digest = digest_of(chunk.text)
            chunks.append((record, chunk, digest))
            if digest not in self._pending and not self._store.has_passage(digest):
                self._pending[digest] = chunk.text
                self._characters += len(chunk.text)
                if len(self._pending) >= _TEXTS or self._characters >= _CHARACTERS:
                    self._flush()
        return chunks

    def _cut(self, records: Iterable[Record]) -> Iterator[tuple[int, Chunk]]:
        limit, overlap = self._recipe.chunk, self._recipe.overlap
        for record in records:
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
        for entry, known in self._ready:
            self._finish(entry, known)
        if len(self._batch):
            self._store.write(self._batch)
        self._batch, self._ready = Batch(), []

    def _finish(self, entry: Entry, known: bytes | None) -> None:
        """Write a document without the records of which a text could not be embedded."""
        bad = {number: chunk for number, chunk, digest in entry.chunks if digest in self._bad}
        good = [item for item in entry.chunks if item[0] not in bad]
        name = os.path.relpath(entry.path)
        reasons = {n: self._bad[digest_of(chunk.text)] for n, chunk in bad.items()}
        if bad and not good:
            self._fail(Unreadable(name, next(iter(reasons.values()))), entry.path)
            return
        if bad:
            # It is content of its own, so that the rest may come when it can be embedded.
            rest = hashlib.sha256(entry.digest + str(sorted(bad)).encode()).digest()
            entry = Entry(entry.path, None, rest, good)
        for number, chunk in bad.items():
            place = Place(name, number, chunk.first_line, chunk.last_line)
            self._fail(Unreadable(f"{name}{place.label}", reasons[number]))
        if known == entry.digest:
            self._report.unchanged += 1
            self._batch.stamps.append((entry.path, entry.stamp))
            return
        self._batch.entries.append(entry)
        if known is None:
            self._report.new += 1
        else:
            self._report.changed += 1

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


def _named(path: Path, bad: Sequence[BadRecord]) -> Iterator[Unreadable]:
    for record in bad[:_NAMED_RECORDS]:
        yield Unreadable(f"{path}:{record.line}", record.reason)
    if len(bad) > _NAMED_RECORDS:
        yield Unreadable(str(path), f"{len(bad) - _NAMED_RECORDS:,} more records are bad")


def _stamp(status: os.stat_result, reader: str, encoding: str | None) -> str | None:
    """Tell a file's state without reading it, and how it is read.

    None if it may change and keep its times.
    """
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    if time.time_ns() - changed < _TICK_NS:
        return None
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, reader)
    said = f" {_READ_AS}{encoding}" if encoding else ""
    return " ".join(map(str, state)).rstrip() + said


def _is_same(known: str | None, stamp: str, encoding: str | None) -> bool:
    """Whether nothing changed; an encoding that was named stays until another is."""
    if known and encoding is None:
        known = known.partition(f" {_READ_AS}")[0]
    return known == stamp


def _advice(error: TextError) -> str:
    if not isinstance(error, TextTooLongError):
        return error.reason
    chunk = Argument("chunk", 512)
    return Message(
        f"has {error.tokens:,} tokens, above the limit of {error.limit:,}; index into a new "
        f"collection with {chunk}",
        chunk,
    )
