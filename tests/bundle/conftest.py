"""Real models to carry across, and a home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
