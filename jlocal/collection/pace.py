"""How long a run will take, told from how fast it has been."""

from __future__ import annotations

import mimetypes
import time
from collections import deque
from collections.abc import Iterable

from jlocal.collection.large import MOST_TOKENS
from jlocal.collection.survey import Candidate

# The part of a file that is text, where its kind is not text itself; roughly.
_TEXT_IN = {"": 1.0, "pdf": 0.05}
_TEXT_IN_OTHERS = 0.3
# Larger files are skipped, unless all are taken.
_MOST_BYTES = 4 * MOST_TOKENS
# The speed is that of the last seconds, after the first of them.
_SECONDS, _FIRST_SECONDS = 30.0, 1.0

# Without the files of the system, so that it is the same everywhere.
_TYPES = mimetypes.MimeTypes()
_TEXT_TYPES = ("json", "xml", "javascript", "sh", "tex", "latex", "csh", "sql", "toml", "yaml")


class Pace:
    """Counts work that is done; its unit is a byte of text."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        """Begin with nothing done; `candidates` are all files of the run."""
        self._left = sum(map(self._work, candidates))
        self._done = 0.0
        self._marks: deque[tuple[float, float]] = deque()

    def start(self) -> None:
        """Take the time: from now on the work is done that counts."""
        if not self._marks:
            self._marks.append((time.monotonic(), self._done))

    def finish(self, candidate: Candidate, *, is_skipped: bool = False) -> None:
        """Count a file that is done, or that was none to do."""
        work = self._work(candidate)
        self._left -= work
        if not is_skipped:
            self._done += work

    def seconds_left(self, candidate: Candidate | None = None, part: float = 0.0) -> float | None:
        """Estimate how long the rest takes; None where it cannot be told yet.

        Args:
            candidate: the file in hand.
            part: how much of it is done, from 0 to 1.

        """
        within = part * self._work(candidate) if candidate else 0.0
        done, now = self._done + within, time.monotonic()
        if not self._marks:
            return None
        began, before = self._marks[0]
        if now - self._marks[-1][0] > 1:
            self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > _SECONDS:
            self._marks.popleft()
        if now - began < _FIRST_SECONDS or done <= before:
            return None
        return max(0.0, self._left - within) * (now - began) / (done - before)

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
