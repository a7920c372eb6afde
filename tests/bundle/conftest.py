"""Real models to carry across, and a home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal_convert import convert
from support.gguf_files import few_tokens, variant


@pytest.fixture(scope="module")
def models(small_checkpoint, nano_checkpoint, tmp_path_factory) -> list[Path]:
    """Return a file of each architecture, with few tokens."""
    folder = tmp_path_factory.mktemp("bundles")
    files = []
    for checkpoint in (small_checkpoint, nano_checkpoint):
        source = few_tokens(variant(checkpoint, folder / checkpoint.name))
        files += convert(source, tasks=("retrieval",), types=("Q8_0",), output=folder)
    return files


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
