"""The models that tests of the scheduler share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal import Embedder
from support.schedulers import Bench, bench_of


@pytest.fixture(scope="module")
def file(starter_files: dict[str, Path]) -> Path:
    """Return a file whose vectors hardly depend on what they are computed together with.

    Those of a quantised one do in their fourth digit, since it rounds what it multiplies.
    """
    return starter_files["F16"]


@pytest.fixture(scope="module")
def plain(file: Path) -> Iterator[Embedder]:
    with Embedder(file, threads=1) as model:
        yield model


@pytest.fixture
def bench(file: Path) -> Iterator[Bench]:
    with bench_of(file) as bench:
        yield bench
