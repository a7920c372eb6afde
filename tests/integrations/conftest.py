"""The frameworks ask for telemetry and files of the hub; neither leaves this machine."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator

import pytest

from jlocal import Collection, Embedder

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
def starter() -> Iterator[Embedder]:
    with Embedder("starter") as model:
        yield model


@pytest.fixture
def notes(tmp_path, starter: Embedder) -> Iterator[Collection]:
    with Collection(tmp_path / "notes.db", starter) as collection:
        collection.add(
            TEXTS,
            ids=["backup", "meeting", "cats"],
            metadata=[{"year": 2024, "source": "mine"}, {"year": 2021}, {}],
        )
        yield collection
