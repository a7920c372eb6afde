"""How long a run will take, told from how fast it has been."""

from __future__ import annotations

import mimetypes
import time
from collections import deque
from collections.abc import Iterable

from jlocal.collection.index.large import MOST_TOKENS
from jlocal.collection.index.survey import Candidate

# The part of a file that is text, where its kind is not text itself; roughly.
_TEXT_IN = {"": 1.0, "pdf": 0.05}
_TEXT_IN_OTHERS = 0.3
# Larger files are skipped, unless all are taken.
_MOST_BYTES = 4 * MOST_TOKENS
# The speed is that between some of the last marks.
_SECONDS, _LEAST_SECONDS, _FEWEST = 30.0, 1.0, 3

# Without the files of the system, so that it is the same everywhere.
_TYPES = mimetypes.MimeTypes()
_TEXT_TYPES = ("json", "xml", "javascript", "sh", "tex", "latex", "csh", "sql", "toml", "yaml")


class Pace:
    """Counts work that is done; its unit is a byte of text."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        """Begin with nothing done; `candidates` are all files of the run."""
        self._left = sum(map(self._work, candidates))
        self._done = 0.0
        # When so much was done, and how much was left.
        self._marks: deque[tuple[float, float, float]] = deque()

    def finish(self, candidate: Candidate, *, is_skipped: bool = False) -> None:
        """Count a file that is done, or that was none to do."""
        work = self._work(candidate)
        self._left -= work
        if not is_skipped:
            self._done += work

    def mark(self, candidate: Candidate | None = None, part: float = 0.0) -> None:
        """Take the time, when what is done is also written.

        Args:
            candidate: the file in hand.
            part: how much of it is done, from 0 to 1.

        """
        within = part * self._work(candidate) if candidate else 0.0
        self._marks.append((time.monotonic(), self._done + within, self._left - within))
        while len(self._marks) > _FEWEST and self._marks[-1][0] - self._marks[0][0] > _SECONDS:
            self._marks.popleft()

    def seconds_left(self) -> float | None:
        """Estimate how long the rest takes; None where it cannot be told yet."""
        if len(self._marks) < _FEWEST:
            return None
        (began, before, _), (now, done, left) = self._marks[0], self._marks[-1]
        if now - began < _LEAST_SECONDS or done <= before:
            return None
        since = time.monotonic() - now
        return max(0.0, left * (now - began) / (done - before) - since)

    def _work(self, candidate: Candidate) -> float:
        if not candidate.kind and _is_media(candidate.path):
            return 0.0
        size = candidate.size * _TEXT_IN.get(candidate.kind, _TEXT_IN_OTHERS)
        return size if candidate.folder.large or candidate.is_named else min(size, _MOST_BYTES)


def _is_media(path: str) -> bool:
    """Whether a file's name is that of a photo, an archive or the like, which will be skipped."""
    kind, encoding = _TYPES.guess_type(path)
    if encoding:
        return True
    main, _, subtype = (kind or "text/plain").partition("/")
    return main in ("image", "audio", "video", "font") or (
        main == "application" and not subtype.removeprefix("x-").endswith(_TEXT_TYPES)
    )
