"""The speed of a run so far: how much to embed next, and the time that is left."""

from __future__ import annotations

import mimetypes
import time
from collections import deque
from collections.abc import Callable, Iterable

from jlocal.collection.index.large import MOST_TOKENS
from jlocal.collection.index.survey import Candidate

# A batch takes about this many seconds, which an interruption may waste; its size is bounded to
# save memory, and begins small while the speed is unknown.
BATCH_SECONDS = 2.0
FIRST_CHARACTERS, _LEAST_CHARACTERS, _MOST_CHARACTERS = 4_000, 1_000, 400_000

# The rough share of text in files of other formats.
_TEXT_IN = {"": 1.0, "pdf": 0.05}
_TEXT_IN_OTHERS = 0.3
# Larger files are skipped by default; a token has about four bytes.
_MOST_BYTES = 4 * MOST_TOKENS
# The speed is measured between recent marks, once they are this far apart.
_SECONDS, _LEAST_SECONDS, _FEWEST = 60.0, 3.0, 4
# The weight of the last mark in an estimate: the cost of a byte differs between files.
_NEW = 0.3

# Without the system's own tables, so that the result is the same everywhere.
_TYPES = mimetypes.MimeTypes()
_TEXT_TYPES = ("json", "xml", "javascript", "sh", "tex", "latex", "csh", "sql", "toml", "yaml")


class Pace:
    """Counts finished work in bytes of text."""

    def __init__(
        self, candidates: Iterable[Candidate], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with nothing done; `candidates` are all files of the run."""
        self._clock = clock
        self._end: float | None = None  # on the clock
        self._left = sum(map(self._work, candidates))
        self._done = 0.0
        # The time, the work done and the work left at each mark.
        self._marks: deque[tuple[float, float, float]] = deque()

    def finish(self, candidate: Candidate, *, is_skipped: bool = False) -> None:
        """Count a file as done, or take a skipped file out of the work."""
        work = self._work(candidate)
        self._left -= work
        if not is_skipped:
            self._done += work

    def mark(self, candidate: Candidate | None = None, part: float = 0.0) -> None:
        """Take the time when the finished work was also written.

        Args:
            candidate: the file in hand.
            part: the finished share of it, from 0 to 1.

        """
        within = part * self._work(candidate) if candidate else 0.0
        self._marks.append((self._clock(), self._done + within, self._left - within))
        while len(self._marks) > _FEWEST and self._marks[-1][0] - self._marks[0][0] > _SECONDS:
            self._marks.popleft()
        end = self._estimated_end()
        if end is not None:
            self._end = end if self._end is None else self._end + _NEW * (end - self._end)

    def seconds_left(self) -> float | None:
        """Estimate the remaining seconds; None if it is too early to tell."""
        return None if self._end is None else max(0.0, self._end - self._clock())

    def _estimated_end(self) -> float | None:
        if len(self._marks) < _FEWEST:
            return None
        (began, before, _), (now, done, left) = self._marks[0], self._marks[-1]
        if now - began < _LEAST_SECONDS or done <= before:
            return None
        return now + left * (now - began) / (done - before)

    def _work(self, candidate: Candidate) -> float:
        if not candidate.kind and _is_media(candidate.path):
            return 0.0
        size = candidate.size * _TEXT_IN.get(candidate.kind, _TEXT_IN_OTHERS)
        is_asked_for = candidate.folder.large or candidate.is_named or candidate.digest is not None
        return size if is_asked_for or size <= _MOST_BYTES else 0.0


def next_size(characters: int, seconds: float) -> int:
    """Return how many characters to embed next, from those of the last batch and its time."""
    size = min(characters * BATCH_SECONDS / max(seconds, 1e-3), 4 * characters, _MOST_CHARACTERS)
    return max(int(size), _LEAST_CHARACTERS)


def _is_media(path: str) -> bool:
    """Tell whether a file's name is that of a photo, an archive or the like, which is skipped."""
    kind, encoding = _TYPES.guess_type(path)
    if encoding:
        return True
    main, _, subtype = (kind or "text/plain").partition("/")
    return main in ("image", "audio", "video", "font") or (
        main == "application" and not subtype.removeprefix("x-").endswith(_TEXT_TYPES)
    )
