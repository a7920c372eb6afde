"""Names of models, the record of what is on this machine, and that nothing opens a socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder
from jlocal.errors import HubError, ModelError, NotPublishedError
from jlocal.files import sha256_of
from jlocal.models import catalogue, registry
from jlocal.models.catalogue import MODELS, canonical, choose, parse
from jlocal.models.names import resolve
from jlocal.models.offline import is_offline
from jlocal.models.profile import read_profile

STRACE = shutil.which("strace")
V5 = "jinaai/jina-embeddings-v5-text"

NAMES = {
    "small": "small-retrieval:Q8_0",
    "NANO": "nano-retrieval:Q8_0",
    "nano:bf16": "nano-retrieval:BF16",
    "Small-Text-Matching:f16": "small-text-matching:F16",
    f"{V5}-small-retrieval:F16": "small-retrieval:F16",
    f"{V5}-small-retrieval": "small-retrieval:Q8_0",
    f"{V5}-nano-clustering-GGUF:q4_k_m": "nano-clustering:Q4_K_M",
    f"{V5}-nano": "nano-retrieval:Q8_0",
    "owner/repo": "owner/repo:Q8_0",
    "owner/repo:q6_k": "owner/repo:Q6_K",
    "owner/repo:UD-Q4_K_XL": "owner/repo:UD-Q4_K_XL",
}
NO_NAMES = {
    "smal": "did you mean small?",
    "nan": "did you mean nano?",
    "small-retreival": "did you mean small-retrieval?",
    "nano-clasification:q8": "did you mean nano-classification:Q8_0?",
    "small:Q4_KM": "did you mean Q4_K_M?",
    "small:Q8": "did you mean Q8_0?",
    "small:7": "there are F32, F16",
    "small:": "did you mean small?",
    f"{V5}-smal-retrieval:F16": "did you mean small-retrieval:F16?",
    "": "there are small-retrieval",
    "no\0name": "there is no model 'no\\x00name'",
    "\N{GRINNING FACE}": "there is no model",
    "../a/b": "there is no model",
    "../b": "there is no model",
    "a/..": "there is no model",
    "a/b:../c": "there is no model",
    "a--b/c": "there is no model",
    "small\nrm": "there is no model 'small\\nrm'",
    "x" * 1_000_000: "there is no model",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_spelling(name: str) -> None:
    assert parse(name).name == canonical(name) == NAMES[name]
    assert parse(NAMES[name]) == parse(name)


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: name[:20].encode("unicode_escape"))
def test_what_is_no_name(name: str, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        parse(name)
    assert NO_NAMES[name] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    with pytest.raises(ModelError):
        resolve(name)


@pytest.mark.slow
def test_the_catalogue_agrees_with_the_headers(converted) -> None:
    assert len(MODELS) == 8
    for backbone, size in (("qwen3", "small"), ("eurobert", "nano")):
        profile, model = read_profile(converted(backbone)), MODELS[f"{size}-retrieval"]
        assert profile.architecture == model.architecture
        assert dict(profile.prompts) == dict(model.prompts)
        assert profile.license == model.license
        assert profile.context == model.context
    assert MODELS["nano-retrieval"].matryoshka == (32, 64, 128, 256, 512, 768)


LISTING = (
    *("README.md", "v5-small-retrieval-F16.gguf", "V5-small-retrieval-q8_0.GGUF"),
    *("sub/x-BF16.gguf", "IQ4_XS/x.gguf", "v5-Q4_K_M.gguf", "mmproj-Q5_0.gguf"),
    *("y-F32-00001-of-00002.gguf", "y-F32-00002-of-00002.gguf", "one-Q6_K.gguf", "two-Q6_K.gguf"),
)


@pytest.mark.parametrize(
    ("kind", "file"),
    {
        "F16": "v5-small-retrieval-F16.gguf",
        "Q8_0": "V5-small-retrieval-q8_0.GGUF",
        "BF16": "sub/x-BF16.gguf",
        "IQ4_XS": "IQ4_XS/x.gguf",
        "Q4_K_M": "v5-Q4_K_M.gguf",
        "two-Q6_K": "two-Q6_K.gguf",
        "Q4_K_S": None,
        "Q5_0": None,
    }.items(),
)
def test_a_file_is_chosen_from_the_listing(kind: str, file: str | None) -> None:
    assert choose(LISTING, parse(f"owner/repo:{kind}")) == file


def test_files_that_cannot_be_chosen() -> None:
    with pytest.raises(NotPublishedError, match=r"y-F32-00001-of-00002\.gguf is split"):
        choose(LISTING, parse("owner/repo:F32"))
    with pytest.raises(HubError, match="one-Q6_K, two-Q6_K"):
        choose(LISTING, parse("owner/repo:Q6_K"))


def stage(source: Path, change: bytes = b"") -> Path:
    """Put a file where `adopt` takes it from."""
    folder = registry.home() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / ".staged"
    staged.write_bytes(source.read_bytes() + change)
    return staged


@pytest.mark.slow
def test_a_model_is_adopted_found_and_removed(converted) -> None:
    source = converted("eurobert")
    record = {"name": "nano-retrieval:F16", "source": "bundle", "license": "cc-by-nc-4.0"}
    model = registry.install_file(stage(source), record | {"task": "retrieval", "type": "F16"})
    assert model.path == registry.home() / "models" / "nano-retrieval-F16.gguf"
    assert model.path.read_bytes() == source.read_bytes()
    assert model.sha256 == sha256_of(source)
    assert registry.find("NANO:f16") == model
    assert registry.installed() == [model]
    assert registry.find_by_path(model.path) == model
    assert resolve("nano:F16", offline=True) == model.path
    # The same again changes nothing; another file does not take its place unless told.
    assert registry.install_file(stage(source), record).path == model.path
    with pytest.raises(ModelError, match=r"`jlocal rm nano-retrieval:F16` first"):
        registry.install_file(stage(source, b"more"), record)
    assert model.path.read_bytes() == source.read_bytes()
    other = registry.install_file(stage(source, b"more"), record, replace=True)
    assert other.size == model.size + 4
    registry.remove(other)
    assert list((registry.home() / "models").iterdir()) == []
    assert registry.find("nano:F16") is None


@pytest.mark.parametrize(
    "name",
    ["", "../x", "a/../b", "/x", "a\0b", "a\nb", "\N{GRINNING FACE}", "x" * 300, ".x", "a/b/c"],
)
def test_names_that_no_file_may_have(name: str, converted) -> None:
    staged = stage(converted("eurobert"))
    with pytest.raises(ModelError, match="cannot be the name"):
        registry.install_file(staged, {"name": name, "source": "bundle"})
    assert staged.exists()
    assert [path.name for path in staged.parent.iterdir()] == [".staged"]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{}",
        b'{"name": 7, "source": "bundle", "size": 1}',
        b'{"name": "a", "source": "bundle", "size": "x"}',
        b'{"name": "a", "source": "o/r", "revision": "..", "file": "x", "size": 1}',
        b'{"name": "a", "source": "o/r", "revision": "c", "file": "../../x", "size": 1}',
        b"\xff",
    ],
)
def test_a_record_that_cannot_be_used_is_named(record: bytes) -> None:
    path = registry.home() / "models" / "a.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(record)
    with pytest.raises(ModelError, match=r"a\.json|cannot be the name"):
        registry.installed()


def test_a_file_that_was_cut_off_is_not_used(converted) -> None:
    model = registry.install_file(
        stage(converted("eurobert")), {"name": "nano:F16", "source": "bundle"}
    )
    with model.path.open("r+b") as file:
        file.truncate(model.size - 1)
    assert registry.installed() == []
    with pytest.raises(ModelError, match="is damaged"):
        resolve(model.name)


def test_what_is_not_here_names_the_command() -> None:
    with pytest.raises(ModelError) as caught:
        resolve("small")
    assert "get it with `jlocal pull small-retrieval:Q8_0`" in str(caught.value)
    with pytest.raises(ModelError) as caught:
        resolve("small", offline=True)
    for said in ("on a connected one", "jlocal bundle create small-retrieval:Q8_0 -o", "install"):
        assert said in str(caught.value)


def test_a_folder_does_not_hide_a_model(converted, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ModelError, match="is a folder"):
        resolve("mine")
    model = registry.install_file(
        stage(converted("eurobert")), {"name": "mine", "source": "bundle"}
    )
    assert resolve("mine") == model.path


def test_the_variables_that_say_offline(monkeypatch) -> None:
    assert not is_offline()
    for name in ("JLOCAL_OFFLINE", "HF_HUB_OFFLINE"):
        for value, offline in (("1", True), ("true", True), ("0", False), ("", False)):
            monkeypatch.setenv(name, value)
            assert is_offline() is offline
        monkeypatch.delenv(name)


# Any use of a socket ends the process with a status that no command has.
GUARD = """
import os, socket, sys
class Refused(socket.socket):
    def __init__(self, *_, **__):
        os.write(2, b"a socket was opened"); os._exit(77)
socket.socket = Refused
socket.create_connection = socket.getaddrinfo = Refused
from jlocal.cli import main
main()
"""


@pytest.fixture
def nano(converted) -> str:
    record = {"name": "nano-retrieval:F16", "source": "bundle", "type": "F16"}
    return registry.install_file(stage(converted("eurobert")), record).name


COMMANDS = {
    "embed": (["embed", "-c", "text", "-m", "nano:F16"], 0),
    "similar": (["similar", "a", "b", "-m", "nano:F16"], 0),
    "list": (["list"], 0),
    "show": (["show", "nano:F16"], 0),
    "rm": (["rm", "nano:F16", "--yes"], 0),
    "missing": (["embed", "-c", "text", "-m", "small"], 1),
    "pull": (["pull", "small", "--yes", "--offline"], 1),
    "convert": (["convert", "owner/repo", "-o", "out", "--offline"], 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_socket_is_opened(command: str, nano: str, tmp_path) -> None:
    arguments, status = COMMANDS[command]
    done = subprocess.run(
        [sys.executable, "-c", GUARD, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    assert ("Error: " in done.stderr) == bool(status)


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize("command", ["embed", "list", "missing", "pull"])
def test_no_connection_is_made(command: str, nano: str, tmp_path) -> None:
    arguments, status = COMMANDS[command]
    trace = tmp_path / "trace"
    done = subprocess.run(
        [
            *(STRACE, "-f", "-e", "trace=socket,connect,sendto", "-o", str(trace)),
            *(sys.executable, "-m", "jlocal", *arguments),
        ],
        capture_output=True,
        text=True,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == status, done.stderr
    calls = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert calls == []


@pytest.mark.parametrize("variable", ["JLOCAL_OFFLINE", "HF_HUB_OFFLINE", None])
def test_pull_offline_is_one_line(variable: str | None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", "pull", "small", *([] if variable else ["--offline"])],
        env=os.environ | ({variable: "1"} if variable else {}),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: cannot pull small-retrieval:Q8_0 while offline; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_embedding_by_name_is_embedding_by_path(nano: str, converted) -> None:
    with Embedder("nano:F16") as named, Embedder(converted("eurobert")) as path:
        assert np.array_equal(named.encode("text"), path.encode("text"))
    assert registry.find(nano).last_used is not None


@pytest.mark.slow
def test_a_fresh_machine_has_the_starter_model() -> None:
    done = subprocess.run([sys.executable, "-m", "jlocal", "list"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["NAME", "starter"]
    done = subprocess.run([sys.executable, "-m", "jlocal", "list", "--json"], capture_output=True)
    assert [model["source"] for model in json.loads(done.stdout)] == ["jlocal"]


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import jlocal, jlocal.cli, jlocal.models.registry, jlocal.models.catalogue, sys;"
        "assert not {'numpy', 'llama_cpp', 'huggingface_hub', 'gguf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_types_are_those_of_the_catalogue() -> None:
    assert catalogue.type_in("a-Q4_K_M.gguf") == "Q4_K_M"
    assert catalogue.type_in("a.bf16.gguf") == "BF16"
    assert catalogue.type_in("a-UD-Q4_K_XL.gguf") is None
