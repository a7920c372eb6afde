"""A dry run: find and read the same files as a run, but embed and write nothing."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.store import Store
from jlocal.collection.index.folders import Choice
from jlocal.collection.index.large import tokens_of_text
from jlocal.collection.index.prune import plan
from jlocal.collection.index.reading import FileReader, digest_of_document
from jlocal.collection.index.report import OnFailure, OnProgress, Plan, Progress, Report, Skipped
from jlocal.collection.index.survey import Candidate, Survey, Surveyor
from jlocal.embed.embedder import Embedder
from jlocal.inputs.documents import Document, Unreadable

# This many characters of each kind of file are tokenised to learn the characters per token.
_CHARACTERS = 200_000
# Chunks end at a boundary before they are full; measured with prose and with notes.
_FILLED = 0.8
# Texts to embed to measure the speed.
_SAMPLES, _SAMPLE_CHARACTERS = 8, 1_000


def dry_run(
    path: Path,
    store: Store | None,
    model: Embedder,
    config: CollectionConfig,
    choice: Choice,
    on_failure: OnFailure | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Report the changes that a run would make.

    Args:
        path: of the collection.
        store: open for reading; None if there is no collection yet.
        model: the one that the config names.
        config: how texts would become vectors.
        choice: the files.
        on_failure: called with each file that would not be indexed.
        on_progress: called with the progress of reading.

    """
    run = _DryRun(path, store, model, config, on_failure, on_progress)
    return run.all(choice)


class _DryRun:
    def __init__(
        self,
        path: Path,
        store: Store | None,
        model: Embedder,
        config: CollectionConfig,
        on_failure: OnFailure | None,
        on_progress: OnProgress | None,
    ) -> None:
        self._path, self._store = path, store
        self._fields = config.fields
        self._on_failure, self._on_progress = on_failure, on_progress
        self._estimate = _Estimate(model, config)
        self._report = Report()
        self._new: list[str] = []
        self._changed: list[str] = []
        self._removed: list[str] = []

    def all(self, choice: Choice) -> Report:
        report, store = self._report, self._store
        known = store.stamp if store else lambda _: None
        paths = store.paths if store else lambda: iter(())
        surveyor = Surveyor(self._path, known, paths, self._fields, self._fail, self._tell)
        self._tell(0)
        survey = surveyor.look(choice)
        report.unchanged, report.forgotten = survey.unchanged, survey.forgotten
        report.skipped += survey.skipped
        self._removed += survey.deleted
        reader = FileReader(self._estimate.count)
        for number, candidate in enumerate(survey.candidates):
            self._tell(number, len(survey.candidates), str(candidate.file))
            item = reader.read(candidate)
            self._file(candidate, item)
            if isinstance(item, Skipped) or (isinstance(item, Unreadable) and item.is_known):
                survey.unusable.add(candidate.path)
        self._prune(survey, store.paths() if store else (), prune=choice.prune)
        passed_over = len(report.skipped) - len(survey.skipped)
        report.files = survey.unchanged + len(survey.candidates) - passed_over
        report.new, report.changed = len(self._new), len(self._changed)
        report.removed = len(self._removed)
        estimate = self._estimate
        report.plan = Plan(
            self._new,
            self._changed,
            self._removed,
            estimate.passages,
            round(estimate.tokens),
            estimate.seconds(),
        )
        return report

    def _file(self, candidate: Candidate, item: Document | Unreadable | Skipped) -> None:
        is_new = candidate.digest is None
        if isinstance(item, Skipped):
            self._report.skipped.append(item)
        elif isinstance(item, Unreadable):
            self._fail(item)
        elif digest_of_document(item, candidate.kind) == candidate.digest:
            self._report.unchanged += 1
        else:
            (self._new if is_new else self._changed).append(str(candidate.file))
            self._estimate.add(candidate, item)

    def _prune(self, survey: Survey, known: Iterable[str], *, prune: bool) -> None:
        seen = survey.seen - survey.unusable
        pruning = plan(known, seen, survey.unread, survey.roots, survey.empty, prune=prune)
        self._removed += pruning.removed
        for failure in pruning.failures:
            self._fail(failure)

    def _fail(self, failure: Unreadable) -> None:
        self._report.failed += 1
        self._report.failures.append(failure)
        if self._on_failure:
            self._on_failure(failure)

    def _tell(self, files: int, total: int = 0, file: str = "") -> None:
        if self._on_progress:
            self._on_progress(Progress(files, total, file))


class _Estimate:
    """Estimates the cost of texts."""

    def __init__(self, model: Embedder, config: CollectionConfig) -> None:
        self._model, self._config = model, config
        self.passages, self.tokens = 0, 0.0
        self._seen: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._samples: list[str] = []
        around = self.count("")
        chunk = config.chunk
        self._new_in_chunk = _FILLED * (chunk - around) - config.overlap if chunk else None

    def count(self, text: str) -> int:
        return len(self._model.tokenize(text, self._config.prompt))

    def add(self, candidate: Candidate, document: Document) -> None:
        """Add the cost of a file's text; a file of records counts as one text."""
        text = document.text
        characters, tokens = self._seen[candidate.file.suffix]
        if characters < _CHARACTERS:
            own = tokens_of_text(text, self.count)
            self._seen[candidate.file.suffix] = characters + len(text), tokens + own
        else:
            own = round(tokens * len(text) / characters)
        if len(self._samples) < _SAMPLES:
            self._samples.append(text[:_SAMPLE_CHARACTERS])
        chunks = 1
        if self._new_in_chunk:
            chunks = max(1, round(own / self._new_in_chunk))
        self.passages += chunks
        self.tokens += own + (chunks - 1) * self._config.overlap

    def seconds(self) -> float:
        """Estimate how long the tokens would take, by embedding a few of them."""
        if not self._samples:
            return 0.0
        # The first texts include the time of the model's set-up.
        self._model.encode(self._samples[:1], prompt=self._config.prompt)
        began = time.monotonic()
        self._model.encode(self._samples, prompt=self._config.prompt)
        tokens = sum(map(self.count, self._samples))
        return (time.monotonic() - began) * self.tokens / max(1, tokens)
