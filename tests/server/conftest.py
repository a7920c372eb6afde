"""One server with the starter model for all tests that change nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal.models import starter as starter_model
from support.gguf_files import patch
from support.once import once
from support.servers import Running, running


@pytest.fixture(scope="session")
def server(short: Path) -> Iterator[Running]:
    arguments = ("-m", "starter", "-m", "text-embedding-3-small=starter", "-m", f"short={short}")
    with running(*arguments) as server:
        yield server


@pytest.fixture(scope="session")
def short(workshop: Path) -> Path:
    """Return the starter with a context of 64 tokens, which a text soon exceeds."""
    name = "short-embedding.gguf"
    folder = once(
        workshop / "short",
        lambda folder: patch(starter_model.FILE, folder / name, "qwen3.context_length", 4096, 64),
    )
    return folder / name
