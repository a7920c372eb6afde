"""Cached collections for searches in folders that are in no collection."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli.display.index_progress import index_bar
from jlocal.cli.display.quantities import counted
from jlocal.cli.scope import Scope
from jlocal.errors import BusyError, CollectionError, EmptyCollectionError, OutputError
from jlocal.files import unwritable
from jlocal.printable import printable
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.collection import Collection
    from jlocal.collection.index.report import Report
    from jlocal.embed.embedder import Embedder
    from jlocal.inputs.documents import Unreadable

# The collections that were used last are kept, for the next search in the same folder.
_KEPT = 10
_FILES = ("", "-wal", "-shm", "-lock", "-journal")


def collection_of(scope: Scope, model: Embedder, *, quiet: bool) -> Collection:
    """Bring the collection of a folder up to date, or make it, and open it.

    Raises:
        CollectionError, ModelError: it cannot be made.

    """
    path = _path_of(scope, model)
    try:
        return _current(path, scope, model, quiet=quiet)
    except BusyError:
        raise
    except CollectionError:
        # A cached collection can be made again.
        _delete(path)
        return _current(path, scope, model, quiet=quiet)


def _current(path: Path, scope: Scope, model: Embedder, *, quiet: bool) -> Collection:
    from jlocal.collection.collection import Collection

    paths = scope.paths()
    if not paths:
        raise _nothing(scope)
    # A link may lead to a collection that is not in the cache.
    if path.is_symlink():
        _delete(path)
    path.touch(mode=0o600)
    _tidy(path.parent)
    collection = Collection(path, model)
    try:
        _forget_others(collection, paths)
        with index_bar(quiet=quiet) as on_progress:
            report = collection.index(paths, on_progress=on_progress)
        if not len(collection):
            # A folder without files is no other reason.
            bad = [item for item in report.failures if not _is_folder_without_files(item)]
            raise _nothing(scope, *bad[:1])
    except BaseException:
        collection.close()
        raise
    if not quiet:
        _log(report, scope)
    return collection


def _is_folder_without_files(failure: Unreadable) -> bool:
    return failure.is_known and Path(failure.id).is_dir()


def _nothing(scope: Scope, *failures: Unreadable) -> click.ClickException:
    """Return the error for a scope without text, with the reason why a file cannot be read."""
    reasons = [f"; {printable(f'{failure.id}: {failure.reason}')}" for failure in failures]
    return click.ClickException(f"there is no text in {printable(scope.name)}{''.join(reasons)}")


def _forget_others(collection: Collection, paths: Sequence[str]) -> None:
    """Remove the documents of files that a glob matched before and that were deleted."""
    with contextlib.suppress(EmptyCollectionError):
        for path in collection.folders().keys() - set(paths):
            collection.forget(path)


def _path_of(scope: Scope, model: Embedder) -> Path:
    from jlocal.locations import cache_folder, make_private

    key = "\0".join((os.path.realpath(scope.root), scope.glob, str(model.profile.path)))
    name = hashlib.sha256(os.fsencode(key)).hexdigest()[:16]
    folder = cache_folder() / "folders"
    try:
        make_private(folder)
        folder.chmod(0o700)
    except OSError as error:
        reason = unwritable(error, "let JLOCAL_CACHE name a folder that can be written")
        raise OutputError(f"cannot make {folder}: {reason}") from error
    return folder / f"{name}.db"


def _tidy(folder: Path) -> None:
    """Delete the least recently used collections."""
    used = {}
    for path in folder.glob("*.db"):
        with contextlib.suppress(OSError):
            used[path] = path.stat().st_mtime_ns
    for path in sorted(used, key=used.__getitem__, reverse=True)[_KEPT:]:
        _delete(path)


def _delete(path: Path) -> None:
    for ending in _FILES:
        with contextlib.suppress(OSError):
            path.with_name(path.name + ending).unlink()


def _log(report: Report, scope: Scope) -> None:
    """Log the number of indexed files, if there are any."""
    done = report.new + report.changed
    if done or report.failed:
        failed = f"; {report.failed:,} could not be read" if report.failed else ""
        log(f"Indexed {counted(done, 'file')} in {printable(scope.name)}{failed}.")
