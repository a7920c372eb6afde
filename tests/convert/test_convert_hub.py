"""Checkpoints by their name on the hub: a real huggingface_hub, a hub on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.download import locate
from support.gguf_files import values, variant
from support.hub import serve

NAME = "somebody/jina-embeddings-v5-text-nano"


@pytest.fixture(scope="module")
def hub(nano_checkpoint, tmp_path_factory):
    folder = variant(nano_checkpoint, tmp_path_factory.mktemp("hub") / "nano")
    for unwanted in ("modeling.py", "pytorch_model.bin", "onnx/model.onnx"):
        (folder / unwanted).parent.mkdir(exist_ok=True)
        (folder / unwanted).write_text("not wanted")
    with serve({NAME: folder}) as (address, requests):
        yield address, requests


@pytest.fixture
def jlocal(tmp_path, monkeypatch):
    """Run the command line with a cache of its own: (exit status, stdout, stderr)."""

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "jlocal", "convert", *arguments],
            env=os.environ | {"HF_HOME": str(tmp_path / "hub")} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.slow
def test_a_repository_is_downloaded_and_converted(hub, jlocal, tmp_path) -> None:
    address, requests = hub
    arguments = [NAME, "--task", "clustering", "-o", str(tmp_path / "out")]
    status, out, err = jlocal(*arguments, HF_ENDPOINT=address)
    assert (status, err) == (0, "Licence of these weights: cc-by-nc-4.0\n")
    (file,) = (Path(line) for line in out.splitlines())
    assert file.name == "jina-embeddings-v5-text-nano-clustering-F16.gguf"
    assert values(file)["jlocal.task"] == "clustering"
    adapters = [name for name in requests if name.startswith("adapters/")]
    assert [name for name in adapters if name.endswith(".safetensors")] == [
        "adapters/clustering/adapter_model.safetensors"
    ]
    assert not any(name.endswith((".py", ".bin", ".onnx")) for name in requests)
    first = file.read_bytes()
    status, _, err = jlocal(*arguments, "--force", "-q", HF_HUB_OFFLINE="1")
    assert (status, err) == (0, "")
    assert file.read_bytes() == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    {
        "no such repository": (["somebody/something-else"], "the hub has no model"),
        "no such revision": ([NAME, "--revision", "v9"], "no revision 'v9'"),
        "no such adapter": ([NAME, "--task", "singing"], "there are retrieval, text-matching"),
    }.values(),
    ids=str,
)
def test_what_the_hub_does_not_have(hub, jlocal, tmp_path, arguments, says) -> None:
    status, out, err = jlocal(*arguments, "-o", str(tmp_path / "out"), HF_ENDPOINT=hub[0])
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_a_network(jlocal, tmp_path, offline) -> None:
    status, out, err = jlocal(NAME, "-o", str(tmp_path / "out"), HF_HUB_OFFLINE=offline)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert f"hf download {NAME}" in err
    assert "on a connected machine" in err


@pytest.mark.parametrize("name", ["./a/b", "/a/b", "~/a", "a", "a/b/c", "a b/c", "../b", "a/.."])
def test_a_path_is_not_asked_from_the_hub(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        locate(name)
