"""The frameworks ask for telemetry and files of the hub; neither leaves this machine."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jlocal import Collection, Embedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))  # mteb_sets

os.environ |= {
    "ANONYMIZED_TELEMETRY": "False",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
}

TEXTS = ["Restic backs up the server each night.", "The team meets on Tuesday.", "Cats chase mice."]


def pytest_configure(config: pytest.Config) -> None:
    """Know the marks of plug-ins that come with langchain-tests and are switched off."""
    for name in ("benchmark", "vcr"):
        config.addinivalue_line("markers", f"{name}: of langchain-tests")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run asynchronous tests, which LangChain's are."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def checkpoint_transformer(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    """Return the checkpoint of the starter's retrieval adapter, computed by torch."""
    from support.starter_transformer import starter_transformer

    return starter_transformer(tmp_path_factory.mktemp("checkpoint") / "starter")


@pytest.fixture
def notes(tmp_path, starter: Embedder) -> Iterator[Collection]:
    with Collection(tmp_path / "notes.db", starter) as collection:
        collection.add(
            TEXTS,
            ids=["backup", "meeting", "cats"],
            metadata=[{"year": 2024, "source": "mine"}, {"year": 2021}, {}],
        )
        yield collection
