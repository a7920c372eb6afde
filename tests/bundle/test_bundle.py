"""Bundles of models: created, verified, installed, interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jlocal import Embedder
from jlocal.bundle.create import create
from jlocal.bundle.install import install, verify
from jlocal.bundle.standalone import MANIFEST, header
from jlocal.errors import BundleError, ModelError, OutputError
from jlocal.models import registry
from jlocal.models.registry import reference_vector_file
from support.bundles import MODEL, files_in, pack, run, sha256


@pytest.mark.slow
def test_models_cross_and_give_the_same_vectors(models, own_home, tmp_path) -> None:
    done = run("create", *models, "-o", tmp_path / "b.tar")
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'b.tar'}\n")
    done = run("verify", tmp_path / "b.tar")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
        ["model", path.stem] for path in models
    ]
    done = run("install", tmp_path / "b.tar")
    assert (done.exit_code, done.stdout.split()) == (0, [path.stem for path in models])
    assert "Licence of" in done.stderr
    for path in models:
        there = registry.find(path.stem)
        assert there is not None
        assert there.path.read_bytes() == path.read_bytes()
        assert (there.source, there.type, there.task) == ("bundle", "Q8_0", "retrieval")
        assert there.license == "cc-by-nc-4.0"
        stored = json.loads(reference_vector_file(sha256(path.read_bytes())).read_text())
        with Embedder(there.path, compute_type="stored") as model:
            assert model.encode(stored["text"]) @ stored["vector"] > 0.9999
    # A second time, nothing changes.
    before = files_in(own_home)
    assert run("install", tmp_path / "b.tar").exit_code == 0
    assert files_in(own_home) == before


@pytest.mark.slow
def test_rm_forgets_what_came_with_a_model(models, own_home, tmp_path) -> None:
    create([str(path) for path in models], tmp_path / "b.tar")
    first, second = install(tmp_path / "b.tar")
    record = json.loads(second.path.with_suffix(".json").read_text())
    shutil.copy(second.path, second.path.with_name("copy.gguf"))
    second.path.with_name("copy.json").write_text(json.dumps(record | {"name": "copy"}))
    registry.remove(first)
    assert reference_vector_file(second.sha256).exists()
    registry.remove(second)
    assert reference_vector_file(second.sha256).exists(), "another name has the same file"
    registry.remove(registry.find("copy"))
    assert not [path for path in own_home.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_model_on_this_machine_goes_on_by_its_name(models, tmp_path) -> None:
    create([str(models[0])], tmp_path / "a.tar")
    (model,) = install(tmp_path / "a.tar")
    create([model.name], tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with model.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    with pytest.raises(ModelError, match="is damaged"):
        create([model.name], tmp_path / "c.tar")
    assert not (tmp_path / "c.tar").exists()


@pytest.mark.slow
def test_tar_reads_it_and_the_same_inputs_give_the_same_bytes(models, tmp_path) -> None:
    for name in ("a.tar", "b.tar"):
        create([str(path) for path in models], tmp_path / name)
        os.utime(models[0])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "r:") as tar:
        members = tar.getmembers()
        assert members[0].name == MANIFEST
        assert [m.name for m in members[1:]] == sorted(m.name for m in members[1:])
        assert all((m.mtime, m.uid, m.gid, m.mode) == (0, 0, 0, 0o644) for m in members)
        text = json.load(tar.extractfile(MANIFEST))
        notices = tar.extractfile("licenses/models.txt").read().decode()
    assert text["models"][0]["prompts"] == {"query": "Query: ", "document": "Document: "}
    assert "cc-by-nc-4.0" in notices


@pytest.mark.slow
def test_what_cannot_become_a_bundle(models, tmp_path) -> None:
    copy = tmp_path / models[0].name.upper()
    shutil.copy(models[0], copy.with_suffix(".gguf"))
    target = tmp_path / "b.tar"
    for names, reason in [
        ([models[0], copy.with_suffix(".gguf")], "two models"),
        ([tmp_path / "missing.gguf"], "missing.gguf"),
    ]:
        done = run("create", *names, "-o", target)
        assert (done.exit_code, done.stdout) == (1, "")
        assert reason in done.stderr
        assert not target.exists()
    for place in (tmp_path, tmp_path / "none" / "b.tar"):
        done = run("create", models[0], "-o", place)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert run("create", "-o", target).exit_code == 2
    assert run("create", models[0], "--native", "-o", target).exit_code == 2


def test_headers_of_long_names_and_large_files_are_as_tarfile_writes_them() -> None:
    for path, size in [("a", 0), ("wheels/" + 100 * "x", 5), ("models/m.gguf", 1 << 40)]:
        info = tarfile.TarInfo.frombuf(header(path, size), "ascii", "strict")
        assert (info.name, info.size, info.type) == (path, size, tarfile.REGTYPE)


def test_a_sound_bundle_of_many_gaps(tmp_path, own_home) -> None:
    """The members of the hostile ones are in order where nobody tampers with them."""
    (tmp_path / "b.tar").write_bytes(pack())
    assert [model.name for model in install(tmp_path / "b.tar")] == ["tiny"]
    assert verify(tmp_path / "b.tar").models[0].name == "tiny"
    assert files_in(own_home) == {"models/tiny.gguf", "models/tiny.json"}


def test_another_model_of_the_same_name_stays(tmp_path, own_home) -> None:
    for number in (1, 2):
        content = {"models/tiny.gguf": MODEL + bytes(number)}
        (tmp_path / f"{number}.tar").write_bytes(pack(None, content))
    install(tmp_path / "1.tar")
    with pytest.raises(BundleError, match="jlocal rm tiny"):
        install(tmp_path / "2.tar")
    assert (own_home / "models" / "tiny.gguf").read_bytes() == MODEL + bytes(1)


def test_too_small_a_disk(tmp_path, own_home, monkeypatch) -> None:
    (tmp_path / "b.tar").write_bytes(pack())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(OutputError, match="MB free"):
        install(tmp_path / "b.tar")
    assert not list(own_home.iterdir())


def test_a_home_that_cannot_be_written(tmp_path, monkeypatch) -> None:
    (tmp_path / "b.tar").write_bytes(pack())
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "b.tar" / "home"))
    with pytest.raises(OutputError):
        install(tmp_path / "b.tar")


SLOWLY = """
import sys, time
from pathlib import Path
from jlocal.cli import signals
signals.install()
from jlocal.bundle.install import install
def wait(count):
    print(count, flush=True)
    if count > 1000:
        time.sleep(60)
install(Path(sys.argv[1]), wait)
"""


@contextmanager
def install_slowly(bundle: Path) -> Iterator[subprocess.Popen[str]]:
    """Install a bundle in a process of its own, which waits once it has a part of a model."""
    content = {"LICENSE": b"free\n", "models/tiny.gguf": MODEL + bytes(3 << 20)}
    bundle.write_bytes(pack(None, content))
    command = [sys.executable, "-c", SLOWLY, str(bundle)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout.readline() == "5\n"
        assert int(child.stdout.readline()) == 1 << 20
        yield child


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_install_leaves_nothing(number, tmp_path, own_home) -> None:
    with install_slowly(tmp_path / "b.tar") as child:
        assert len(files_in(own_home)) == 1
        child.send_signal(number)
    assert child.returncode in (130, 143, -signal.SIGINT)
    assert not list(own_home.iterdir())


@pytest.mark.slow
def test_what_a_killed_install_left_goes_with_the_next_one(tmp_path, own_home) -> None:
    with install_slowly(tmp_path / "b.tar") as child:
        child.kill()
    assert len(files_in(own_home)) == 1
    install(tmp_path / "b.tar")
    assert not [path for path in own_home.iterdir() if path.name.startswith(".")]


WITHOUT_SOCKETS = """
import socket, sys
class Socket:
    def __init__(self, *_, **__):
        raise SystemExit("a socket was opened")
socket.socket = socket.create_connection = Socket
from jlocal.cli import main
main()
"""


@pytest.mark.slow
def test_no_socket_is_opened(tmp_path, own_home) -> None:
    (tmp_path / "b.tar").write_bytes(pack())
    for command in ("verify", "install"):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_SOCKETS, "bundle", command, str(tmp_path / "b.tar")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    assert files_in(own_home) == {"models/tiny.gguf", "models/tiny.json"}


def test_errors_are_model_errors() -> None:
    assert issubclass(BundleError, ModelError)
