"""The library of kernels, compiled once."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jlocal.llama.library import ggml
from support.kernels import Floats, Kernels, load_build
from support.once import once


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the library as slow: compiling it takes ten seconds."""
    for item in items:
        if "library" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def library(workshop: Path) -> Path:
    # A build with sanitizers runs the same tests in a child process.
    if given := os.environ.get("KERNELS_UNDER_TEST"):
        return Path(given)
    build = load_build()
    try:
        folder = once(workshop / "native", lambda folder: build.build(folder / "kernels.so"))
    except build.BuildError as reason:
        pytest.skip(str(reason))
    return folder / "kernels.so"


@pytest.fixture(scope="session")
def kernels(library: Path) -> Kernels:
    assert ggml  # the library looks for the ggml that is loaded
    found = Kernels(library)
    assert found.library.jlocal_kernels_refusal() is None
    if found.families == [""]:
        pytest.skip("this processor runs none of the kernels")
    return found


@pytest.fixture(
    params=["bf16", "bf16-amx", "bf16-amx-q8", "int8", "int8-vnni256", "int8-avx2", "f32-avx2"]
)
def family(request: pytest.FixtureRequest, kernels: Kernels) -> str:
    if request.param not in kernels.families:
        pytest.skip(f"this processor does not run {request.param}")
    return str(request.param)


@pytest.fixture(params=["bf16", "amx", "avx2"])
def attend(request: pytest.FixtureRequest, kernels: Kernels) -> Callable[..., Floats]:
    needed = {"bf16": "bf16", "amx": "bf16-amx", "avx2": "f32-avx2"}[request.param]
    if needed not in kernels.families:
        pytest.skip(f"this processor does not run {needed}")
    return partial(kernels.attend, name=request.param)
