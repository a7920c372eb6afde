"""One server with the starter model for all tests that change nothing in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jlocal import Embedder
from support.servers import Running, running


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with running("-m", "starter", "-m", "text-embedding-3-small=starter") as server:
        yield server


@pytest.fixture(scope="session")
def starter() -> Iterator[Embedder]:
    with Embedder("starter") as embedder:
        yield embedder
