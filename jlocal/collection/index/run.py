"""One run over files: embed new and changed files, and remove the documents of deleted ones."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jlocal.collection.chunking.chunks import Chunk
from jlocal.collection.chunking.markup import outline_of
from jlocal.collection.chunking.splitter import Splitter
from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.settings import LeftOut
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of_passage
from jlocal.collection.index.folders import Choice
from jlocal.collection.index.pace import BATCH_SECONDS, FIRST_CHARACTERS, Pace, next_size
from jlocal.collection.index.prune import plan
from jlocal.collection.index.reading import FileReader, digest_of_document
from jlocal.collection.index.report import (
    Listeners,
    OnFailure,
    OnProgress,
    Progress,
    Report,
    Skipped,
)
from jlocal.collection.index.survey import Candidate, Survey, Surveyor, stamp_of, to_read_again
from jlocal.collection.location import Location
from jlocal.embed.embedder import Embedder
from jlocal.errors import TextError, TextTooLongError
from jlocal.inputs.documents import Document, Unreadable, system_message
from jlocal.inputs.records import BadRecord, Record, has_records, records_of
from jlocal.progress import OnTexts
from jlocal.terms import Argument, Message

# Most texts and rows of a batch.
_TEXTS, _ROWS = 1024, 5000
# Seconds between two reports of progress.
_TELL_EACH = 0.1

# A field of a record may be Markdown.
_RECORD = "record.txt"

# How many bad records of a file are named; further bad records are only counted.
_NAMED_RECORDS = 20


def run(
    store: Store,
    model: Embedder,
    config: CollectionConfig,
    choice: Choice,
    on_failure: OnFailure | None = None,
    on_texts: OnTexts | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Bring a collection up to date with files.

    Args:
        store: the collection, locked for this indexer.
        model: the one that the config names.
        config: how texts become vectors.
        choice: the files. Documents of other files below the chosen folders are removed.
        on_failure: called with each file that is not indexed.
        on_texts: called with the texts and tokens done since the last call.
        on_progress: called with the progress of the run.

    Raises:
        CollectionError, ModelError: errors that stop the whole run; documents written before stay.

    """
    return _Run(store, model, config, on_failure, on_texts, on_progress).all(choice)


def run_and_remember(
    store: Store, model: Embedder, config: CollectionConfig, choice: Choice, listeners: Listeners
) -> Report:
    """Bring a collection up to date as `run` does, and remember its folders.

    The folders are remembered before anything is read, so that an interrupted run can continue.
    """
    there = {path: root for path, root in choice.roots.items() if os.path.lexists(path)}
    own = {path: root for path, root in there.items() if root.outer is None}
    store.set_folders({path: root.folder.to_options() for path, root in own.items()})
    for path in choice.absorbed:
        store.remove_folder(path)
    on_failure, on_texts = listeners.on_failure, listeners.on_texts
    report = run(store, model, config, choice, on_failure, on_texts, listeners.on_progress)
    report.absorbed = dict(choice.absorbed)
    report.parts = {root.name: root.outer for root in there.values() if root.outer}
    if choice.prune:
        report.forgotten += (choice.roots.keys() & store.folders().keys()) - there.keys()
    for path in report.forgotten:
        store.remove_folder(path)
    return report


class _Run:
    def __init__(
        self,
        store: Store,
        model: Embedder,
        config: CollectionConfig,
        on_failure: OnFailure | None,
        on_texts: OnTexts | None,
        on_progress: OnProgress | None,
    ) -> None:
        self._store, self._model, self._config = store, model, config
        self._on_failure, self._on_texts, self._on_progress = on_failure, on_texts, on_progress
        self._report = Report()
        self._pending: dict[bytes, Chunk] = {}
        self._characters, self._most_characters = 0, FIRST_CHARACTERS
        self._bad: dict[bytes, str] = {}
        self._left_out: dict[LeftOut, dict[str, str]] = {"large": {}, "failed": {}}
        # With the digest of the known document; None if it is new.
        self._ready: list[tuple[Entry, bytes | None]] = []
        self._batch = Batch()
        self._written = time.monotonic()
        self._total = self._done = 0  # of candidates
        self._finished: list[Candidate] = []  # read, and not written yet
        self._in_hand: Candidate | None = None
        self._part = 0.0  # the part of it that is split
        self._computing_since: float | None = None
        self._told = 0.0

    def all(self, choice: Choice) -> Report:
        self._found(0)
        surveyor = Surveyor(
            self._store.path,
            self._store.stamp,
            self._store.paths,
            self._config.fields,
            self._fail,
            self._found,
        )
        survey = surveyor.look(choice)
        self._batch.removed += survey.deleted
        self._report.removed += len(survey.deleted)
        self._report.forgotten = survey.forgotten
        self._report.unchanged = survey.unchanged
        self._report.skipped += survey.skipped
        self._report.files = survey.unchanged + len(survey.candidates)
        self._reader = FileReader(self._count)
        self._pace = Pace(survey.candidates)
        self._total = len(survey.candidates)
        for candidate in survey.candidates:
            self._in_hand, self._part = candidate, 0.0
            self._advance()
            if self._file(candidate, survey):
                self._finished.append(candidate)
            self._in_hand = None
            if len(self._batch) + len(self._ready) >= _ROWS or self._is_due():
                self._flush()
        self._flush()
        self._advance(is_last=True)
        self._prune(survey, prune=choice.prune)
        for how, files in self._left_out.items():
            self._store.set_left_out(how, files, survey.seen)
        self._store.settle()
        self._report.kept = self._store.count_kept()
        return self._report

    def _file(self, candidate: Candidate, survey: Survey) -> bool:
        """Index a file; return False if it is skipped."""
        try:
            # Its current state: it may have changed since it was found.
            stamp = stamp_of(candidate.file.stat(), candidate.kind, candidate.folder.encoding)
        except (OSError, ValueError) as error:
            survey.unread.add(candidate.path)
            self._fail(Unreadable(str(candidate.file), system_message(error)))
            return True
        item = self._reader.read(candidate)
        if isinstance(item, Skipped):
            survey.unusable.add(candidate.path)
            self._skip(item, candidate, stamp)
            return False
        entry = Entry(candidate.path, stamp, b"")
        if isinstance(item, Unreadable):
            if item.is_known:
                survey.unusable.add(candidate.path)
            self._fail_file(item, entry, is_outdated=item.is_known)
            return True
        try:
            self._document(candidate, item, entry)
        except TextError as error:
            survey.unusable.add(candidate.path)
            self._fail_file(Unreadable(str(candidate.file), error.reason), entry)
        return True

    def _skip(self, skipped: Skipped, candidate: Candidate, stamp: str) -> None:
        """Skip a file, whose document is pruned as if it were deleted."""
        self._report.skipped.append(skipped)
        if skipped.reason == "large":
            self._left_out["large"][candidate.path] = stamp
        self._report.files -= 1
        self._total -= 1
        self._pace.finish(candidate, is_skipped=True)

    def _document(self, candidate: Candidate, document: Document, entry: Entry) -> None:
        """Index the text that was read from a file.

        Args:
            candidate: the file.
            document: the text.
            entry: its path and stamp.

        Raises:
            TextError: nothing of it can be indexed.

        """
        item, kind, known = candidate.file, candidate.kind, candidate.digest
        if document.encoding:
            self._report.encodings[document.encoding] += 1
        digest = digest_of_document(document, kind)
        bad: list[BadRecord] = []
        chunks: list[tuple[int, Chunk, bytes]] = []
        records = self._records(item, document.text, bad)
        if not self._store.has_content(digest):
            chunks = self._chunks(records, document)
        elif has_records(kind):
            collections.deque(records, maxlen=0)
        losses = (*document.losses, *_named(item, bad))
        for loss in losses:
            self._fail(loss)
        # A file with bad parts is read and reported again by the next run.
        stamp = to_read_again(entry.stamp) if losses and entry.stamp else entry.stamp
        if known == digest:
            self._report.unchanged += 1
            self._batch.stamps.append((entry.path, stamp))
        else:
            self._ready.append((Entry(entry.path, stamp, digest, chunks), known))

    def _records(self, path: Path, text: str, bad: list[BadRecord]) -> Iterator[Record]:
        """Yield the good records of a file, and collect the bad records; some must be good."""
        has_good = False
        for record in records_of(path, text, self._config.fields):
            if isinstance(record, Record):
                has_good = True
                yield record
            else:
                bad.append(record)
        if bad and not has_good:
            raise TextError(f"no record can be indexed; line {bad[0].line} {bad[0].reason}")

    def _chunks(
        self, records: Iterable[Record], document: Document
    ) -> list[tuple[int, Chunk, bytes]]:
        """Split records into chunks, and queue the new passages for embedding."""
        chunks = []
        for record, chunk in self._cut(records, document):
            digest = digest_of_passage(chunk.heading, chunk.text)
            chunks.append((record, chunk, digest))
            if digest not in self._pending and not self._store.has_passage(digest):
                self._pending[digest] = chunk
                self._characters += len(chunk.text)
                if len(self._pending) >= _TEXTS or self._characters >= self._most_characters:
                    self._flush()
        return chunks

    def _cut(self, records: Iterable[Record], document: Document) -> Iterator[tuple[int, Chunk]]:
        for record in records:
            outline = (
                outline_of(record.text, document.id, document.headings)
                if record.whole
                else outline_of(record.text, _RECORD)
            )
            for chunk in self._splitter.split(record.text, outline, record.line):
                if record.whole:
                    self._part = chunk.end / len(record.text)
                yield record.number, chunk

    @functools.cached_property
    def _splitter(self) -> Splitter:
        config = self._config
        return Splitter(config.chunk, config.overlap, config.headings, self._count)

    @functools.cached_property
    def _count(self) -> Callable[[str], int]:
        model, prompt = self._model, self._config.prompt
        return lambda text: len(model.tokenize(text, prompt))

    def _is_due(self) -> bool:
        return time.monotonic() - self._written > BATCH_SECONDS

    def _flush(self) -> None:
        """Embed and write the current batch."""
        if self._pending:
            self._embed()
        for entry, known in self._ready:
            self._finish(entry, known)
        if len(self._batch):
            self._store.write(self._batch)
        self._batch, self._ready = Batch(), []
        for candidate in self._finished:
            self._pace.finish(candidate)
        self._done += len(self._finished)
        self._finished = []
        if self._report.embedded:
            # The first texts take longer than later texts of the same size.
            self._pace.mark(self._in_hand, self._part)
        self._written = time.monotonic()
        self._advance()

    def _finish(self, entry: Entry, known: bytes | None) -> None:
        """Write a document without the records whose texts could not be embedded."""
        failed = [item for item in entry.chunks if item[2] in self._bad]
        bad = {number: chunk for number, chunk, _ in failed}
        reasons = {number: self._bad[digest] for number, _, digest in failed}
        good = [item for item in entry.chunks if item[0] not in bad]
        name = os.path.relpath(entry.path)
        if bad and not good:
            self._fail_file(Unreadable(name, next(iter(reasons.values()))), entry)
            return
        if bad:
            # The partial document has another digest, so that a later run can add the rest.
            rest = hashlib.sha256(entry.digest + str(sorted(bad)).encode()).digest()
            stamp = to_read_again(entry.stamp) if entry.stamp else None
            entry = Entry(entry.path, stamp, rest, good)
        for number, chunk in bad.items():
            location = Location(name, number, chunk.first_line, chunk.last_line, start=chunk.start)
            self._fail(Unreadable(f"{name}{location.label}", reasons[number]))
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
        chunks = self._pending
        characters, self._pending, self._characters = self._characters, {}, 0
        passages = {}
        began = self._computing_since = time.monotonic()
        vectors = self._model.stream(
            map(self._splitter.embedded, chunks.values()),
            prompt=self._config.prompt,
            truncate_dim=self._config.dimensions,
            errors="return",
            on_texts=self._computed,
        )
        try:
            with contextlib.closing(vectors):
                for (digest, chunk), vector in zip(chunks.items(), vectors, strict=True):
                    if isinstance(vector, TextError):
                        self._bad[digest] = _advice(vector)
                    else:
                        vector = vector.astype(np.float32, copy=False)
                        passages[digest] = (chunk.heading, chunk.text, vector)
        finally:
            took = time.monotonic() - began
            self._report.seconds += took
            self._computing_since = None
            # Vectors that were computed before an interruption are kept.
            if passages:
                self._store.write(Batch(passages=passages))
                self._report.embedded += len(passages)
        self._most_characters = next_size(characters, took)

    def _computed(self, texts: int, tokens: int) -> None:
        self._report.tokens += tokens
        if self._on_texts:
            self._on_texts(texts, tokens)
        self._advance()

    def _found(self, count: int) -> None:
        """Report how many files were found so far."""
        if self._on_progress:
            self._on_progress(Progress(count, 0))

    def _advance(self, *, is_last: bool = False) -> None:
        """Report the progress of the run, but not too often."""
        now = time.monotonic()
        if not self._on_progress or (now - self._told < _TELL_EACH and not is_last):
            return
        self._told = now
        report, current = self._report, self._in_hand
        seconds = report.seconds + (now - self._computing_since if self._computing_since else 0.0)
        self._on_progress(
            Progress(
                self._done,
                self._total,
                str(current.file) if current else "",
                report.embedded,
                report.tokens,
                seconds,
                self._pace.seconds_left(),
            )
        )

    def _fail_file(self, failure: Unreadable, entry: Entry, *, is_outdated: bool = True) -> None:
        """Report a file that is not indexed, and remove its outdated document."""
        if is_outdated:
            self._batch.removed.append(entry.path)
        # An extra that is installed later is no change of the file.
        if entry.stamp and failure.cause != "extra":
            self._left_out["failed"][entry.path] = entry.stamp
        self._fail(failure)

    def _fail(self, failure: Unreadable) -> None:
        self._report.failed += 1
        self._report.failures.append(failure)
        if self._on_failure:
            self._on_failure(failure)

    def _prune(self, survey: Survey, *, prune: bool) -> None:
        pruning = plan(
            self._store.paths(),
            survey.seen - survey.unusable,
            survey.unread,
            survey.roots,
            survey.empty,
            prune=prune,
        )
        if pruning.removed:
            self._store.write(Batch(removed=pruning.removed))
            self._report.removed += len(pruning.removed)
        for failure in pruning.failures:
            self._fail(failure)


def _named(path: Path, bad: Sequence[BadRecord]) -> Iterator[Unreadable]:
    for record in bad[:_NAMED_RECORDS]:
        yield Unreadable(f"{path}:{record.line}", record.reason)
    if len(bad) > _NAMED_RECORDS:
        yield Unreadable(str(path), f"{len(bad) - _NAMED_RECORDS:,} more records are bad")


def _advice(error: TextError) -> str:
    if not isinstance(error, TextTooLongError):
        return error.reason
    chunk = Argument("chunk", 512)
    return Message(
        f"has {error.tokens:,} tokens, above the limit of {error.limit:,}; index into a new "
        f"collection with {chunk}",
        chunk,
    )
