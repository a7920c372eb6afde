"""A folder of three notes, a run over it that counts, and what is found afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal import Collection, Embedder
from support.collection_files import check

NAMES = ("new", "changed", "unchanged", "removed", "failed", "embedded", "kept")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.md", "b.md", "sub/c.md"):
        (folder / name).write_text(f"This is {name}.\n")
    return folder


@pytest.fixture
def index(tmp_path: Path, model: Embedder, notes: Path) -> Callable[..., dict[str, int]]:
    """Index, and return the counts that are not zero."""

    def run(*paths: str | Path, **options: object) -> dict[str, int]:
        with Collection(tmp_path / "notes.db", model) as collection:
            report = collection.index(paths or [notes], **options)
            run.reasons = [failure.reason for failure in report.failures]
        check(tmp_path / "notes.db")
        return {name: getattr(report, name) for name in NAMES if getattr(report, name)}

    return run


@pytest.fixture
def found(tmp_path: Path, model: Embedder) -> Callable[[], set[str]]:
    """Return the names of all documents that a search finds."""

    def names() -> set[str]:
        with Collection(tmp_path / "notes.db", model) as collection:
            return {Path(hit.path).name for hit in collection.search("this", n=100)}

    return names
