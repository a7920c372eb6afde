"""The progress and the report of a run over files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from jlocal.progress import OnTexts

if TYPE_CHECKING:
    from jlocal.inputs.documents import Unreadable

SkipReason = Literal["binary", "special", "link", "empty", "extra", "large", "generated"]


@dataclass(frozen=True)
class Skipped:
    """A file or subfolder that was skipped, which is not a failure.

    Attributes:
        path: the file, as the walk names it.
        reason: "binary" is not text, "special" is not a regular file, "link" is a broken link,
            "empty" has no text, "extra" needs a package that is not installed, "large" has more
            tokens than the default limit; "generated" is a folder of installed packages, or a
            cache.
        extra: the extra of jlocal that reads it, if the reason is "extra".
        size: bytes.
        tokens: estimated number of tokens, if the reason is "large".

    """

    path: str
    reason: SkipReason
    extra: str = ""
    size: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Plan:
    """The plan of a dry run.

    Attributes:
        new: files that would become documents.
        changed: files whose documents would be replaced.
        removed: documents that would be removed, by their absolute paths.
        passages: estimated number of texts that the model would compute.
        tokens: estimated number of tokens in these texts.
        seconds: estimated time of the model on this machine.

    """

    new: list[str]
    changed: list[str]
    removed: list[str]
    passages: int
    tokens: int
    seconds: float


@dataclass
class Report:
    """The results of a run, or of a dry run.

    Attributes:
        files: files that were found, without skipped files.
        new: documents that were not in the collection.
        changed: documents with changed content.
        unchanged: documents with unchanged content.
        removed: documents whose files were deleted, are no longer chosen, or are now skipped.
        failed: files and parts of files that are not in the collection because of `failures`, and
            missing or unreadable files and folders, whose documents are kept.
        embedded: texts that the model embedded; identical texts count once.
        tokens: tokens in these texts.
        seconds: that computing them took.
        kept: texts of removed and changed documents. Their vectors stay in the file for documents
            that come back, until `Collection.compact`.
        encodings: how many files were read in each encoding, without files in UTF-8 or with a byte
            order mark.
        failures: failed inputs, and why.
        skipped: skipped files and folders, and why.
        forgotten: remembered files and folders that were deleted, and are no longer remembered.
        parts: names of files and folders that are not remembered because they are a part of a
            remembered folder, each with the path of that folder.
        absorbed: remembered paths that became a part of another remembered path, each with the
            other.
        plan: the plan of a dry run; None for a real run.

    """

    files: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    embedded: int = 0
    tokens: int = 0
    seconds: float = 0.0
    kept: int = 0
    encodings: Counter[str] = field(default_factory=Counter)
    failures: list[Unreadable] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    absorbed: dict[str, str] = field(default_factory=dict)
    plan: Plan | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        files: finished files, of the files that are new or may have changed; while the folders are
            still searched, files found so far.
        total: how many files are new or may have changed; 0 while the folders are searched.
        path: the file that is being read.
        embedded: texts that the model embedded.
        tokens: tokens in these texts.
        seconds: that computing them took.
        seconds_left: estimated; None while it is too early to tell.

    """

    files: int
    total: int
    path: str = ""
    embedded: int = 0
    tokens: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """The speed of the model; 0 before it has embedded a text."""
        return self.tokens / self.seconds if self.seconds else 0.0


OnFailure = Callable[["Unreadable"], None]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Listeners:
    """The callbacks of a run, as the arguments of `Collection.index`."""

    on_failure: OnFailure | None = None
    on_texts: OnTexts | None = None
    on_progress: OnProgress | None = None
