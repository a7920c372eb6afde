"""Decide which documents a run removes, and which missing paths keep theirs."""

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
    """The documents to remove, and the paths to report.

    Attributes:
        removed: paths of documents to remove.
        failures: requested paths that have no file left, or never had one.

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

    An unmounted disk or a mistyped glob looks like the deletion of all files, and a full disk can
    empty them, so a root keeps its documents if none of its files can be indexed now.

    Args:
        known: absolute paths of all documents in the collection.
        seen: absolute paths of the files found in this run that can be indexed.
        unread: absolute paths of files and folders that could not be read.
        roots: names of the requested files and folders, by absolute path.
        empty: why a root has no files, by absolute path: it is missing, or no file is chosen.
        prune: remove documents even where no file was found.

    """
    unseen = [
        (path, own_roots)
        for path in known
        if path not in seen
        and (own_roots := {location for location in _upwards(path) if location in roots})
    ]
    lost = [
        (path, own_roots)
        for path, own_roots in unseen
        if not any(location in unread for location in _upwards(path))
    ]
    folders = {os.path.dirname(path) for path in seen}  # noqa: PTH120
    present = {location for folder in folders for location in _upwards(folder) if location in roots}
    present |= _found_elsewhere(
        {root for _, own_roots in lost for root in own_roots} - present, seen
    )
    removed = [path for path, own_roots in lost if prune or own_roots <= present]
    without_files = {root for _, own_roots in lost for root in own_roots - present}
    kept = Counter(root for _, own_roots in unseen for root in own_roots - present)
    failures = []
    for root, name in roots.items():
        reason = empty.get(root)
        if root in without_files and not prune:
            is_own = any(path == root for path, _ in lost)
            advice = f"{reason or _state(root, is_own=is_own)}; {_advice(kept[root])}"
            failures.append(Unreadable(name, Message(advice, _PRUNE)))
        elif reason and root not in without_files:
            is_known = os.path.isdir(root)  # noqa: PTH112
            failures.append(Unreadable(name, reason, is_known=is_known))
    return Pruning(removed, failures)


def _found_elsewhere(roots: Collection[str], seen: Collection[str]) -> set[str]:
    """Return the roots whose files were found through another path, where they are counted."""
    if not roots:
        return set()
    present = {os.path.realpath(path) for path in seen if path not in roots}
    present |= {above for path in present for above in folders_above(path)}
    return {root for root in roots if os.path.realpath(root) in present}


def _upwards(path: str) -> Iterator[str]:
    yield path
    yield from folders_above(path)


def _state(root: str, *, is_own: bool) -> str:
    """Say why a root has no documents; `is_own` tells that it is the file of a document."""
    if os.path.isdir(root):  # noqa: PTH112
        return "none of its files can be indexed now"
    return "no text is left in it" if is_own else "is a file now"


def _advice(count: int) -> str:
    said = "its document is kept" if count == 1 else f"its {count:,} documents are kept"
    return f"{said}; to remove {'it' if count == 1 else 'them'}, use {_PRUNE}"
