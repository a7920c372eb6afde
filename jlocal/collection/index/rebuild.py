"""Rebuilding a collection with other settings; the old one answers until the end."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.batch import Batch
from jlocal.collection.database.catalog import text_of
from jlocal.collection.database.compact import compact
from jlocal.collection.database.store import Store
from jlocal.collection.index.adding import AddedText, add
from jlocal.collection.index.folders import Choice, Root, innermost
from jlocal.collection.index.paths import REBUILD, absolute, folders_above
from jlocal.collection.index.report import Listeners, Report
from jlocal.collection.index.resolve import ConfigOptions, made_with, resolve_config
from jlocal.collection.index.run import run_and_remember
from jlocal.embed.embedder import Embedder
from jlocal.errors import CollectionError, EmptyCollectionError, TextError
from jlocal.files import unwritable
from jlocal.models.chunking import default_chunking
from jlocal.printable import printable
from jlocal.terms import Argument, terms_of

_ENDINGS = ("", "-wal", "-shm", "-journal")
_FEW = 1000
_PRUNE = Argument("prune", True)


def file_beside(path: Path) -> Path:
    """Return the path of the new collection, which an interrupted rebuild leaves for the next."""
    return path.with_name(f"{path.name}{REBUILD}")


def unfinished(path: Path) -> CollectionConfig | None:
    """Return the config of an interrupted rebuild; None if there is none to continue."""
    beside = file_beside(path)
    # A link may lead to another collection, which would be taken for this one.
    if beside.is_symlink() or not beside.is_file():
        return None
    try:
        with contextlib.closing(Store(beside)) as store:
            return store.config()
    except CollectionError:
        return None


def config_to_rebuild(store: Store) -> CollectionConfig:
    """Return the config that a rebuild starts from: an interrupted rebuild's, or the present one.

    Raises:
        EmptyCollectionError: there are no vectors.

    """
    made = made_with(store)
    if made is None:
        raise EmptyCollectionError(store.path)
    return unfinished(store.path) or made


def rebuild(
    old: Store, model: Embedder, options: ConfigOptions, choice: Choice, listeners: Listeners
) -> Report:
    """Rebuild a collection, and replace it when the new one is complete.

    Args:
        old: the collection; no other process may index into it.
        model: the model of the new vectors.
        options: the changed settings. With another model only `fields` keeps its value, since the
            size of chunks and the prompts depend on the model.
        choice: the files.
        listeners: callbacks of the run.

    Returns:
        The report of the run over the files.

    Raises:
        ArgumentError: the options do not fit the model.
        CollectionError: documents would be lost, or the file cannot be written. The collection is
            unchanged, and the next rebuild uses the computed vectors.

    """
    base = config_to_rebuild(old)
    sha256 = old.sha256_of_model(model.profile.path)
    options = replace(options, fields=tuple(options.fields) or base.fields)
    same = base if base.model_sha256 == sha256 else None
    config = resolve_config(options, model, sha256, same)
    # Nobody is asked for these, and an earlier version had none.
    headings = config.chunk is not None and default_chunking(model.profile).headings
    config = replace(config, headings=headings)
    if not choice.prune:
        files = {path for path in old.paths() if os.path.lexists(path)}
        _check_complete(old, files, choice.roots)
    with _new_store(old, config) as new:
        report = run_and_remember(new, model, config, choice, listeners)
        _add_again(old, new, model, config, listeners)
        if not choice.prune:
            kept = set(new.paths())
            _check_complete(old, kept, choice.roots)
            _check_read(old, kept, report)
        # So that the first search need not compute it.
        new.sha256_of_model(model.profile.path)
        compact(new)
        new.checkpoint()
        # All readers see the new one from here on.
        new.copy_to(old)
    old.checkpoint()
    discard(old.path)
    return report


def _add_again(
    old: Store, new: Store, model: Embedder, config: CollectionConfig, listeners: Listeners
) -> None:
    """Copy the texts that were added without files, of which there may be no other copy.

    Raises:
        CollectionError: a text cannot be embedded with the new config.

    """
    for id in old.added():
        document = old.document(id)
        metadata = document.metadata if document else None
        text = AddedText(id, text_of(old.iter_chunks(id)), metadata)
        try:
            add(new, model, config, [text], listeners.on_texts)
        except TextError as error:
            raise CollectionError(
                f"{old.path} cannot be made anew: the added text {printable(id)} {error.reason}",
                *terms_of(error.reason),
                path=old.path,
            ) from error


@contextlib.contextmanager
def _new_store(old: Store, config: CollectionConfig) -> Iterator[Store]:
    """Open the new collection: the one that an interrupted rebuild has left, or an empty one.

    Args:
        old: the collection, of which this is the only indexer.
        config: how the new one makes vectors. Vectors of the old one are copied if they would be
            the same.

    Raises:
        CollectionError: the file cannot be written.

    """
    path = file_beside(old.path)
    left = unfinished(old.path)
    if left is None or _plain(left) != _plain(config):
        discard(old.path)
        _make_file(path, old.path)
    with contextlib.closing(Store(path, create=True)) as new:
        if new.config() is None:
            made = old.config()
            if made and _embedding(made) == _embedding(config):
                old.copy_to(new)
                _empty(new)
                new.delete_kept_chunks()
            new.set_config(config)
        else:
            # Documents may have been removed from the old one since.
            _empty(new)
        yield new


def compact_unfinished(old: Store) -> None:
    """Delete from an unfinished rebuild all texts that the collection does not have.

    Raises:
        CollectionError: it cannot be written.

    """
    if unfinished(old.path) is None:
        discard(old.path)
        return
    with contextlib.closing(Store(file_beside(old.path))) as new:
        contents = dict(old.contents())
        others = [path for path, digest in new.contents() if contents.get(path) != digest]
        _remove(new, [*others, *new.added()])
        compact(new)


def discard(path: Path) -> None:
    """Delete the files of an unfinished rebuild.

    Raises:
        CollectionError: it cannot be deleted.

    """
    beside = file_beside(path)
    try:
        for ending in _ENDINGS:
            beside.with_name(f"{beside.name}{ending}").unlink(missing_ok=True)
    except OSError as error:
        raise CollectionError(f"cannot delete {beside}: {error.strerror or error}") from error


def _check_complete(old: Store, kept: set[str], roots: Mapping[str, Root]) -> None:
    """Check that no folder loses all documents, as one that is not mounted would.

    Args:
        old: the collection.
        kept: paths of documents that the new one has or will have.
        roots: its folders and files.

    Raises:
        CollectionError: one does, or documents are in no folder.

    """
    alive = {root.name for path in kept if (root := innermost(path, roots))}
    lost = Counter[str]()
    for path in old.paths():
        if path in kept:
            continue
        root = innermost(path, roots)
        if root is None:
            raise CollectionError(
                f"{path} is in no folder that the collection remembers, and would be lost; name "
                f"its folder, or remove what is lost with {_PRUNE}",
                _PRUNE,
                path=Path(path),
            )
        lost[root.name] += root.name not in alive
    for name, count in lost.items():
        if count:
            what = "document" if count == 1 else f"{count:,} documents"
            raise CollectionError(
                f"no file is left in {name}, whose {what} would be lost; mount its disk, or remove "
                f"what is lost with {_PRUNE}",
                _PRUNE,
            )


def _check_read(old: Store, kept: set[str], report: Report) -> None:
    """Check that no document is lost because its file cannot be read or embedded now.

    Args:
        old: the collection.
        kept: paths of documents that the new one has.
        report: of the run, with its failures.

    Raises:
        CollectionError: one is.

    """
    reasons = {absolute(failure.id): failure.reason for failure in report.failures}
    lost = []
    for path in old.paths():
        locations = () if path in kept else (path, *folders_above(path))
        lost += [(path, reasons[location]) for location in locations if location in reasons][:1]
    if lost:
        (path, reason), *others = lost
        more = f" and {len(others):,} more" if others else ""
        raise CollectionError(
            f"{old.path} cannot be made anew without losing {path}{more}: {reason}; mend that and "
            f"run it again, or remove what is lost with {_PRUNE}; what was computed is kept",
            *terms_of(reason),
            _PRUNE,
            path=Path(path),
        )


def _make_file(path: Path, beside: Path) -> None:
    """Make an empty file that no more people may read than another."""
    try:
        mode = beside.stat().st_mode & 0o777
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    except OSError as error:
        reason = unwritable(error, f"copy {beside} into a folder that can be written")
        raise CollectionError(f"cannot make {path}: {reason}", path=path) from error


def _plain(config: CollectionConfig) -> CollectionConfig:
    """Return a config without the fields in which equal collections may differ."""
    return replace(config, model="", model_path="", compute_type="")


def _embedding(config: CollectionConfig) -> CollectionConfig:
    """Return a config with only those settings that change the vector of a given passage."""
    return replace(_plain(config), chunk=None, overlap=0, fields=())


def _empty(store: Store) -> None:
    """Remove all documents and folders, and keep the vectors for texts that come again."""
    _remove(store, [*store.paths(), *store.added()])
    for path in store.folders():
        store.remove_folder(path)


def _remove(store: Store, paths: list[str]) -> None:
    for start in range(0, len(paths), _FEW):
        store.write(Batch(removed=paths[start : start + _FEW]))
