"""Folders of notes, and a collection to put them into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jlocal import Collection, Embedder, Report
from support.collection_files import check


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "work").mkdir(parents=True)
    for name in ("a.md", "b.log", "work/c.md", "work/d.log"):
        (folder / name).write_text(f"This is {name}.\n")
    return folder


@pytest.fixture
def collection(tmp_path: Path, model: Embedder) -> Iterator[Collection]:
    with Collection(tmp_path / "notes.db", model) as collection:
        yield collection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("We keep backups for thirty days.")
    return folder


@pytest.fixture
def index(tmp_path: Path, model: Embedder, folder: Path) -> Callable[..., Report]:
    """Index the folder, and see that the file is whole, which a dry run does not write."""

    def run(*paths: Path, **options: object) -> Report:
        with Collection(tmp_path / "notes.db", model) as collection:
            report = collection.index(paths or [folder], **options)
        if not options.get("dry_run"):
            check(tmp_path / "notes.db")
        return report

    return run
