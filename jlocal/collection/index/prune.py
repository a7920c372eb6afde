"""Which documents a run removes, and which paths it does not believe to have none left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from jlocal.collection.index.paths import folders_above
from jlocal.inputs.documents import Unreadable
from jlocal.terms import Argument, Message

_PRUNE = Argument("prune", True)


@dataclass(frozen=True)
class Pruning:
    """What is to be done about documents that were not found.

    Attributes:
        removed: paths of documents to remove.
        failures: paths that were asked for and have no file left, or never had one.

    """

    removed: list[str]
    failures: list[Unreadable]


def plan(
    known: Iterable[str],
    seen: Collection[str],
    unread: Collection[str],
    roots: Mapping[str, str],
    empty: Mapping[str, str],
    *,
    prune: bool,
) -> Pruning:
    """Decide which documents are removed.

    A disk that is not mounted or a mistyped glob looks like the removal of all files, so that a
    root below which no file was found keeps its documents.

    Args:
        known: absolute paths of all documents in the collection.
        seen: absolute paths of the files found in this run.
        unread: absolute paths of which nobody can tell what lies below them.
        roots: absolute path to the name, of the files and folders that were asked for.
        empty: absolute path to the reason, of roots that are missing or where no file is chosen.
        prune: remove documents even where no file was found.

    """
    unseen = [
        (path, here)
        for path in known
        if path not in seen
        and (here := {location for location in _lineage(path) if location in roots})
    ]
    lost = [
        (path, here)
        for path, here in unseen
        if not any(location in unread for location in _lineage(path))
    ]
    folders = {os.path.dirname(path) for path in seen}  # noqa: PTH120
    alive = {location for folder in folders for location in _lineage(folder) if location in roots}
    alive |= _elsewhere({root for _, here in lost for root in here} - alive, seen)
    removed = [path for path, here in lost if prune or here <= alive]
    without_files = {root for _, here in lost for root in here - alive}
    kept = Counter(root for _, here in unseen for root in here - alive)
    failures = []
    for root, name in roots.items():
        reason = empty.get(root)
        if root in without_files and not prune:
            advice = f"{reason or _state(root)}; {_advice(kept[root])}"
            failures.append(Unreadable(name, Message(advice, _PRUNE)))
        elif reason and root not in without_files:
            failures.append(Unreadable(name, reason))
    return Pruning(removed, failures)


def _elsewhere(roots: Collection[str], seen: Collection[str]) -> set[str]:
    """Roots whose files were found, and count once, by way of another path."""
    if not roots:
        return set()
    found = {os.path.realpath(path) for path in seen if path not in roots}
    found |= {above for path in found for above in folders_above(path)}
    return {root for root in roots if os.path.realpath(root) in found}


def _lineage(path: str) -> Iterator[str]:
    yield path
    yield from folders_above(path)


def _state(root: str) -> str:
    return "no file is left in it" if os.path.isdir(root) else "is a file now"  # noqa: PTH112


def _advice(count: int) -> str:
    said = "its document is kept" if count == 1 else f"its {count:,} documents are kept"
    return f"{said}; to remove {'it' if count == 1 else 'them'}, use {_PRUNE}"
