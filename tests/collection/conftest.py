"""Folders of notes, and a collection to put them into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal import Collection, Embedder


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
