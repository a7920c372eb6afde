"""What a run over files tells its caller, while it goes on and at its end."""

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
    """A file in a folder that was passed over, which is no failure; or a folder in it.

    Attributes:
        path: the file, as the walk names it.
        reason: "binary" is not text, "special" no regular file, "link" leads nowhere, "empty" has
            no text; "extra" needs a package that is not installed; "large" has more text than is
            taken unasked. "generated" is a folder of installed packages, or a cache.
        extra: the extra of jlocal that reads it, of "extra".
        size: bytes.
        tokens: estimated, of "large".

    """

    path: str
    reason: SkipReason
    extra: str = ""
    size: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        new: files that would become documents.
        changed: files whose documents would be replaced.
        removed: documents that would be removed, by their absolute paths.
        passages: estimated number of texts that the model would compute.
        tokens: estimated, in them.
        seconds: that the model would take on this machine.

    """

    new: list[str]
    changed: list[str]
    removed: list[str]
    passages: int
    tokens: int
    seconds: float


@dataclass
class Report:
    """What a run found and did, or what it would do.

    Attributes:
        files: files that were found, without the skipped ones.
        new: documents that were not in the collection.
        changed: documents whose content is another now.
        unchanged: documents whose content is as it was.
        removed: documents whose files were deleted, are no longer chosen, or are skipped now.
        failed: files and parts of files that are not in the collection because of `failures`, and
            files and folders that are missing or could not be read, whose documents are kept.
        embedded: texts that the model computed; identical ones count once.
        tokens: in the texts that the model computed.
        seconds: that computing them took.
        kept: texts that are in no document, of removed and of changed ones. Their vectors stay
            in the file, in case they come back, until `Collection.compact`.
        encodings: how many of the files that were read were read as which encoding, where that
            is neither UTF-8 nor told by a byte order mark.
        failures: what failed, and why.
        skipped: files and folders that were passed over, and why.
        forgotten: remembered files and folders in folders that were deleted, and are not
            remembered any more.
        parts: names of files and folders that are not remembered, because they are a part of a
            remembered folder, each with the path of that.
        absorbed: remembered paths that are a part of another from now on, each with that.
        plan: what a run would do, of a dry run; None of a real one.

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
    """How far a run has come.

    Attributes:
        files: files that are done, of those that are new or may have changed; while the folders
            are still searched, files that were found.
        total: how many files that will be; 0 while the folders are searched.
        path: the file that is being read.
        embedded: texts that the model computed.
        tokens: in them.
        seconds: that computing them took.
        seconds_left: estimated; None before there is anything to tell it by.

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
        """The speed of the model; 0 before it has computed anything."""
        return self.tokens / self.seconds if self.seconds else 0.0


OnFailure = Callable[["Unreadable"], None]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Listeners:
    """Who is told how a run goes, with the arguments of `Collection.index`."""

    on_failure: OnFailure | None = None
    on_texts: OnTexts | None = None
    on_progress: OnProgress | None = None
