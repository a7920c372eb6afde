"""Keep a collection up to date while its files change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal

from jlocal import extras
from jlocal.collection.database.store import Store
from jlocal.errors import BusyError

if TYPE_CHECKING:
    from jlocal.collection.collection import Collection
    from jlocal.collection.index.report import OnFailure

Kind = Literal["new", "changed", "removed"]
OnChange = Callable[[Kind, str], None]
OnNote = Callable[[str], None]

# Seconds between checks of folders without change events, and between runs; the largest share of
# the time that runs may take, so that constant changes do not keep the CPU busy.
_TICK, _REST, _SHARE = 1.0, 60.0, 0.2

_Mark = tuple[int, ...]


def watch(
    collection: Collection, on_change: OnChange, on_failure: OnFailure, on_note: OnNote
) -> None:
    """Bring a collection up to date whenever files in its folders change, without end.

    Missing folders keep their documents, and are read again when they are back. The collection is
    locked only while files are read.

    Args:
        collection: the model stays loaded.
        on_change: called with the kind of change of a document, and its path.
        on_failure: called with each file that is not indexed, again only after it changes.
        on_note: called with notes for the user.

    Raises:
        CollectionError: there is no collection, or it cannot be written.
        ExtraError: watchfiles is not installed.
        ModelError: the model cannot be loaded, or cannot compute.

    """
    check_installed()
    _Watch(collection, on_change, on_failure, on_note).run()


def check_installed() -> None:
    """Raise ExtraError if watchfiles is not installed."""
    with extras.importing("watch", "watching needs"):
        import watchfiles  # noqa: F401


class _Watch:
    def __init__(
        self, collection: Collection, on_change: OnChange, on_failure: OnFailure, on_note: OnNote
    ) -> None:
        self._collection = collection
        self._on_change, self._on_failure, self._on_note = on_change, on_failure, on_note
        self._failures: set[tuple[str, str]] = set()
        self._missing: set[str] = set()
        self._rests_until = 0.0
        self._told = False

    def run(self) -> None:
        is_due = True
        while True:
            marks = self._marks()
            folders = [path for path in marks if os.path.isdir(path)]  # noqa: PTH112
            for changed in self._changes(folders):
                now = self._marks()
                is_due = is_due or changed or now != marks
                if is_due and time.monotonic() >= self._rests_until:
                    is_due = not self._update()
                if now != marks:
                    # One more run finds the changes that happened while the folders were not
                    # watched.
                    is_due = True
                    break

    def _marks(self) -> dict[str, _Mark]:
        """Identify the remembered folders: they may be deleted, moved or unmounted."""
        with closing(Store(self._collection.path)) as store:
            return {path: _mark(path) for path in store.folders()}

    def _update(self) -> bool:
        """Bring the collection up to date; return False if another process is indexing."""
        started = time.monotonic()
        before = self._contents()
        failures: set[tuple[str, str]] = set()
        try:
            report = self._collection.update(wait=0)
        except BusyError:
            return False
        for failure in report.failures:
            key = (failure.id, failure.reason)
            failures.add(key)
            if key not in self._failures:
                self._on_failure(failure)
        failed = {id for id, _ in failures}
        for path in sorted(self._missing - failed):
            self._on_note(f"{path} is back")
        self._failures, self._missing = failures, failed & set(self._marks())
        after = self._contents()
        for path in sorted({*before, *after}):
            if path not in before:
                self._on_change("new", path)
            elif path not in after:
                self._on_change("removed", path)
            elif before[path] != after[path]:
                self._on_change("changed", path)
        took = time.monotonic() - started
        self._rests_until = time.monotonic() + took * (1 / _SHARE - 1)
        return True

    def _contents(self) -> dict[str, bytes]:
        with closing(Store(self._collection.path)) as store:
            return dict(store.contents())

    def _changes(self, folders: Sequence[str]) -> Iterator[bool]:
        """Yield every second, and when files change; True if files changed."""
        import watchfiles

        own = str(self._collection.path.absolute())

        def is_meant(_change: watchfiles.Change, path: str) -> bool:
            return not path.startswith(own) and not _is_hidden(path, folders)

        if folders:
            try:
                for changes in watchfiles.watch(
                    *folders,
                    watch_filter=is_meant,
                    rust_timeout=int(_TICK * 1000),
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                ):
                    yield bool(changes)
            except FileNotFoundError:
                # A folder was deleted just now.
                yield True
                return
            except (OSError, RuntimeError) as error:
                if not self._told:
                    self._told = True
                    self._on_note(
                        f"the system does not tell of changes ({error}); the folders are read "
                        f"every {_REST:.0f} seconds instead"
                    )
                yield from _now_and_then()
        while True:
            time.sleep(_TICK)
            yield False


def _now_and_then() -> Iterator[bool]:
    while True:
        for _ in range(int(_REST / _TICK)):
            time.sleep(_TICK)
            yield False
        yield True


def _mark(path: str) -> _Mark:
    """Identify the folder or file at a path; for a file, include its state."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    if os.path.isdir(path):  # noqa: PTH112
        return (status.st_dev, status.st_ino)
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def _is_hidden(path: str, folders: Sequence[str]) -> bool:
    """Tell whether a path is hidden, or below a hidden folder, in all folders that contain it."""
    inside = [path[len(folder) :] for folder in folders if path.startswith(folder)]
    return bool(inside) and all(f"{os.sep}." in below for below in inside)
