"""The models that tests of the scheduler share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal import Embedder
from jlocal.llama.context import Context
from jlocal.llama.scheduler import Scheduler
from support.schedulers import BUDGET, Bench, GatedContext


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
    with Embedder(file, threads=1) as model:
        runtime = model._model.runtime
        context = GatedContext(Context(runtime.model, 1, capture=True, token_budget=BUDGET))
        runtime.scheduler.close()
        runtime.scheduler = Scheduler(runtime.model, context)
        yield Bench(model, context)
        context.gate.set()
