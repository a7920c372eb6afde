"""Real models to carry across, and a home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal_convert import convert
from support.gguf_files import few_tokens, variant
from support.once import once


@pytest.fixture(scope="session")
def models(small_checkpoint: Path, nano_checkpoint: Path, workshop: Path) -> list[Path]:
    """Return a file of each architecture, with few tokens."""

    def make(folder: Path) -> None:
        for checkpoint in (small_checkpoint, nano_checkpoint):
            source = few_tokens(variant(checkpoint, folder / checkpoint.name))
            convert(source, tasks=("retrieval",), types=("Q8_0",), output=folder)

    folder = once(workshop / "bundles", make)
    return [next(folder.glob(f"{it.name}-*.gguf")) for it in (small_checkpoint, nano_checkpoint)]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
