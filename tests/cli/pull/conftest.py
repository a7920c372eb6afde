"""A hub on this machine, and jlocal as a process that downloads from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.gguf_files import few_tokens, placeholder, variant
from support.hub import Faults, serve
from support.once import once
from support.pulls import FILE, NANO, OTHER, SMALL


@pytest.fixture(scope="session")
def repositories(workshop: Path, nano_checkpoint: Path) -> dict[str, Path]:
    """Return the folders that are served; not to be changed."""
    root = once(workshop / "hub", lambda root: fill(root, nano_checkpoint))
    return {
        f"{SMALL}-GGUF": root / "gguf",
        SMALL: root / "merged",
        f"{NANO}-clustering": root / "empty",
        NANO: root / "nano",
        OTHER: root / "other",
    }


def fill(root: Path, checkpoint: Path) -> None:
    placeholder(root / "gguf" / FILE, megabytes=24)
    placeholder(root / "gguf" / "v5-small-retrieval-Q4_K_M.gguf")
    placeholder(root / "gguf" / "v5-small-retrieval-F16-00001-of-00002.gguf")
    placeholder(root / "merged" / "model-F16.gguf")
    placeholder(root / "merged" / "model-BF16.gguf")
    placeholder(root / "other" / "sub" / "model_q8_0.gguf")
    placeholder(root / "other" / "a-Q6_K.gguf")
    placeholder(root / "other" / "b-Q6_K.gguf")
    placeholder(root / "other" / "mmproj-Q4_0.gguf")
    (root / "other" / "bad-Q5_0.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    (root / "empty").mkdir()
    few_tokens(variant(checkpoint, root / "nano"))


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def hub(repositories, faults) -> Iterator[tuple[str, list[str]]]:
    with serve(repositories, faults) as served:
        yield served


@pytest.fixture
def environment(hub, tmp_path, monkeypatch) -> dict[str, str]:
    return os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub[0]}


@pytest.fixture
def start(environment) -> Callable[..., subprocess.Popen]:
    def run(*arguments: str, **changed: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "jlocal", *arguments],
            env=environment | changed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def jlocal(start) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str, **changed: str) -> tuple[int, str, str]:
        with start(*arguments, **changed) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run
