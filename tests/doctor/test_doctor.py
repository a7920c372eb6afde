"""`jlocal doctor` on a sound machine, and on ones that are not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jlocal.bundle.create import create
from jlocal.bundle.install import install
from jlocal.cli import cli
from jlocal.doctor import diagnose as doctor
from jlocal.doctor import probe
from jlocal.embed.probe import ProbeVectors
from jlocal.llama.features import BuildInfo, features_in
from jlocal.llama.kernels import kernels
from jlocal.llama.widen import Widened
from jlocal.models import starter
from jlocal.models.profile import read_profile

AVX2 = "CPU : SSE3 = 1 | SSSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | BMI2 = 1 | SVE = 0"
LAPTOP = frozenset({"pni", "ssse3", "avx", "avx2", "f16c", "fma", "bmi2", "sse2"})


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def bundle(models: list[Path], tmp_path_factory) -> Path:
    """Return a bundle with a file of each architecture, with few tokens."""
    return create([str(file) for file in models], tmp_path_factory.mktemp("doctor") / "b.tar")


@dataclass
class Machine:
    """A laptop, and its build of llama.cpp."""

    cpu_flags: frozenset[str] | None = LAPTOP
    total_memory: int | None = 16 << 30
    free_memory: int | None = 8 << 30
    build: BuildInfo = field(
        default_factory=lambda: BuildInfo("1", AVX2, gpu_offload=False, backends=["cpu"], gpus=[])
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Stand in for the machine, on which all vectors are equal."""
    machine = Machine()
    monkeypatch.setattr(probe, "build_info", lambda: machine.build)
    monkeypatch.setattr(probe, "vectors", lambda *_: ProbeVectors([1.0], [1.0]))
    for name in ("cpu_flags", "total_memory", "free_memory"):
        monkeypatch.setattr(doctor, name, partial(getattr, machine, name))
    return machine


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["doctor", *map(str, arguments)])


def findings(result: Result) -> list[dict[str, Any]]:
    return json.loads(result.stdout)["findings"]


@pytest.mark.slow
def test_a_machine_in_order(bundle) -> None:
    models = install(bundle)
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", "doctor"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if "/" not in line) <= 80
    assert "self-test           passed" in lines
    compared = 3 if kernels().families else 2
    assert sum("cosine 1.000" in line or "cosine 0.999" in line for line in lines) == compared
    for model in models:
        report = json.loads(run("--json", model.name).stdout)
        assert report["broken"] is False
        assert report["self_test"]["passed"] is True
        assert min(report["self_test"]["cosine"].values()) > 0.999
        assert report["versions"]["numpy"]
        assert [entry["name"] for entry in report["models"]] == sorted(m.name for m in models)


@pytest.mark.slow
def test_without_a_model_the_starter_model_is_tested() -> None:
    report = json.loads(run("--json").stdout)
    assert report["models"] == []
    assert report["self_test"]["passed"] is True
    assert Path(report["self_test"]["model"]) == starter.FILE


@pytest.mark.slow
def test_an_unusable_model_is_broken(tmp_path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    for path in (tmp_path / "x.gguf", tmp_path / "missing.gguf"):
        done = run(path)
        assert done.exit_code == 1
        assert "FAILED" in done.stdout
        assert "Broken: the self-test with" in done.stdout


@pytest.mark.slow
def test_another_vector_than_that_of_the_sender_is_broken(bundle, own_home) -> None:
    (model, *_) = install(bundle)
    (stored,) = (own_home / "checks").glob(f"{model.sha256}.json")
    value = json.loads(stored.read_text())
    value["vector"][0] += 1
    stored.write_text(json.dumps(value))
    done = run("--json", model.name)
    assert done.exit_code == 1
    (finding,) = findings(done)
    assert "the machine that made the bundle" in finding["text"]
    for text in ("{", '{"text": "a"}', '{"text": "a", "vector": ["b"]}', "[]"):
        stored.write_text(text)
        done = run("--json", model.name)
        assert done.exit_code == 1
        assert "cannot be read" in findings(done)[0]["text"]


RECORDS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "nothing in it": Path.touch,
    "10 GB": lambda path: (path.touch(), os.truncate(path, 10 << 30)),
    **{
        name: lambda path, content=content: path.write_bytes(content)
        for name, content in {
            "no JSON": b"{",
            "no UTF-8": b'{"name": "\xff"}',
            "deep": b"[" * 60_000,
            "deep objects": b'{"a":' * 12_000,
            "a long number": b'{"size": ' + b"9" * 60_000 + b"}",
            "a list": b"[]",
            "a text": b'"x"',
            "null": b"null",
            "NaN": b"NaN",
            "NUL": bytes(100),
        }.items()
    },
}
VALUES = (
    None,
    True,
    -1,
    1.5,
    1e400,
    float("nan"),
    "",
    "x" * 9999,
    "../x",
    "a\0b",
    "\ud800",
    [],
    {},
)
KEYS = ("name", "source", "size", "revision", "sha256", "license", "task", "type", "file")


def survives() -> list[str]:
    """Run doctor, and return what it found; all of it is JSON as others read it."""
    result = run("--json")
    assert isinstance(result.exception, SystemExit | None), result.exception
    report = json.loads(result.stdout, parse_constant=pytest.fail)
    assert report["self_test"]
    page = run()
    assert isinstance(page.exception, SystemExit | None), page.exception
    return [finding["text"] for finding in report["findings"]]


@pytest.mark.parametrize("kind", RECORDS)
def test_any_record_is_survived(kind, machine, own_home) -> None:
    (own_home / "models").mkdir(parents=True)
    RECORDS[kind](own_home / "models" / "x.json")
    assert any("cannot use the record" in text for text in survives())


@pytest.mark.slow
def test_records_with_values_of_every_kind_are_survived(machine, own_home) -> None:
    models = own_home / "models"
    models.mkdir(parents=True)
    good = {"name": "small-retrieval:Q8_0", "source": "bundle", "size": 4, "sha256": "a" * 64}
    placed = good | {"source": "a/b", "revision": "c" * 40, "file": "x.gguf"}
    (models / "x.gguf").write_bytes(b"GGUF")
    for record in (good, placed):
        for key in KEYS:
            without = {name: value for name, value in record.items() if name != key}
            for changed in (without, *(record | {key: value} for value in VALUES)):
                (models / "x.json").write_text(json.dumps(changed))
                survives()


@pytest.mark.parametrize("kind", RECORDS)
def test_any_vector_of_a_bundle_is_survived(kind, bundle, machine, own_home) -> None:
    (model, *_) = install(bundle)
    stored = own_home / "checks" / f"{model.sha256}.json"
    stored.unlink()
    RECORDS[kind](stored)
    result = run("--json", model.name)
    assert "cannot be read" in findings(result)[0]["text"]


@pytest.mark.parametrize(
    "value",
    [
        *(
            {"text": text, "vector": [1.0]}
            for text in (1, None, [], "a\0b", "\ud800", "x" * 99_999)
        ),
        *({"text": "a", "vector": vector} for vector in ("12", {}, None, 1, [None], ["x"], [[]])),
        *({"text": "a", "vector": [number]} for number in (1e300, 1e400, float("nan"), 10**400)),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_vectors_of_wrong_types_are_survived(value, bundle, machine, own_home) -> None:
    (model, *_) = install(bundle)
    (own_home / "checks" / f"{model.sha256}.json").write_text(json.dumps(value))
    result = run("--json", model.name)
    assert isinstance(result.exception, SystemExit)
    assert "cannot be read" in findings(result)[0]["text"]


@pytest.mark.parametrize("vector", [[], [0.0], [1.0, 0.0]])
def test_vectors_that_cannot_be_compared_are_no_number(vector, bundle, machine, own_home) -> None:
    (model, *_) = install(bundle)
    value = {"text": "a", "vector": vector}
    (own_home / "checks" / f"{model.sha256}.json").write_text(json.dumps(value))
    result = run("--json", model.name)
    report = json.loads(result.stdout, parse_constant=pytest.fail)
    assert report["self_test"]["cosine"]["the machine that made the bundle"] is None
    assert report["broken"] is True
    assert "cosine none with" in run(model.name).stdout


def test_widened_weights_count_as_memory(bundle, machine, own_home, monkeypatch) -> None:
    models = install(bundle)

    def needs() -> list[int]:
        return [entry["needs"] for entry in json.loads(run("--json").stdout)["models"]]

    narrow = needs()
    machine.build = replace(machine.build, system_info=f"{AVX2} | AVX512_BF16 = 1")
    wide = needs()
    for model, less, more in zip(sorted(models, key=lambda m: m.name), narrow, wide, strict=True):
        profile = read_profile(model.path)
        with contextlib.closing(Widened(profile.header, 1)) as widened:
            widened.wait()
            size = widened.path.stat().st_size
        assert more - less == pytest.approx(size - model.size, abs=1 << 14)
        assert more > less
    monkeypatch.setenv("JLOCAL_COMPUTE_TYPE", "stored")
    assert needs() == narrow
    machine.build = replace(machine.build, system_info=AVX2)
    monkeypatch.setenv("JLOCAL_COMPUTE_TYPE", "bfloat16")
    assert needs() == wide


def test_a_build_that_wastes_the_cpu_is_a_warning(machine, monkeypatch) -> None:
    assert features_in(AVX2) == {"SSE3", "SSSE3", "AVX", "AVX2", "F16C", "FMA", "BMI2"}
    assert findings(run("--json")) == []
    machine.cpu_flags = LAPTOP | {"avx512f", "avx512_bf16"}
    done = run()
    assert done.exit_code == 0
    assert "AVX512_BF16         no          yes" in done.stdout.splitlines()
    assert "Warning: llama.cpp was built without AVX512, AVX512_BF16" in done.stdout
    command = done.stdout.splitlines()[-2:]
    assert command[0].startswith('CMAKE_ARGS="-DGGML_NATIVE=ON" pip install --no-cache-dir')
    assert "--no-binary llama-cpp-python llama-cpp-python==" in command[1]
    assert max(map(len, done.stdout.splitlines()[-4:])) <= 80


def test_a_build_for_another_cpu_is_broken(machine, monkeypatch) -> None:
    machine.cpu_flags = LAPTOP - {"fma", "avx2"}
    done = run()
    assert done.exit_code == 1
    assert "Broken: llama.cpp was built for a CPU with AVX2, FMA." in done.stdout


def test_a_cpu_that_nobody_tells(machine, monkeypatch) -> None:
    machine.cpu_flags = None
    done = run()
    assert done.exit_code == 0
    assert "AVX2                yes         not known" in done.stdout.splitlines()


def test_a_build_for_a_gpu_that_is_not_there(machine) -> None:
    machine.build = replace(machine.build, backends=["cpu", "cuda"])
    done = run()
    assert done.exit_code == 0
    assert "Warning: llama.cpp was built for cuda, and finds no GPU." in done.stdout
    machine.build = replace(machine.build, gpus=["NVIDIA H100"])
    assert "built for cuda; found: NVIDIA H100" in run().stdout


@pytest.mark.skipif(os.name == "nt", reason="a script as Python's stand-in")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (f"kill -{int(signal.SIGILL)} $$", "instructions that this CPU does not have"),
        (f"kill -{int(signal.SIGSEGV)} $$", f"ended by signal {int(signal.SIGSEGV)}"),
        ("echo libgomp.so.1: cannot open shared object file >&2; exit 1", "libgomp.so.1"),
        ("exit 3", "exit status 3"),
    ],
)
def test_a_llama_that_ends_its_process_is_broken(script, reason, tmp_path, monkeypatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    done = run("--json")
    assert done.exit_code == 1
    (finding,) = findings(done)
    assert reason in finding["text"]
    assert finding["command"]
    assert json.loads(done.stdout)["self_test"]["done"] is False


def test_memory_and_folders_that_are_too_small(bundle, machine, own_home, monkeypatch) -> None:
    model = min(install(bundle), key=lambda model: model.name)
    shutil.rmtree(own_home / "checks")
    for total, free, reason in [
        (8 << 30, 100 << 20, "the memory that is free"),
        (100 << 20, None, "this machine's memory"),
    ]:
        machine.total_memory, machine.free_memory = total, free
        done = run("--json")
        assert done.exit_code == 0
        assert findings(done)[0]["text"] == f"{model.name} is larger than {reason}."
    monkeypatch.setenv("JLOCAL_HOME", __file__)
    assert any("cannot be written" in item["text"] for item in findings(run("--json")))


def test_a_damaged_record_is_broken(machine, own_home) -> None:
    (own_home / "models").mkdir(parents=True)
    (own_home / "models" / "x.json").write_text("{")
    done = run("--json")
    assert done.exit_code == 1
    assert "x.json" in findings(done)[0]["text"]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["gguf", "numpy", "huggingface_hub", "llama_cpp"])
def test_a_package_that_is_missing_is_broken(package, tmp_path) -> None:
    code = """
import sys, importlib.metadata as metadata
package = sys.argv[1]
sys.modules[package] = None
version = metadata.version
def without(name):
    if name.replace("-python", "").replace("-", "_") == package:
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = without
sys.argv[1:] = ["doctor", "--json"]
from jlocal.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, package], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    texts = [item["text"] for item in json.loads(done.stdout)["findings"]]
    assert any("is not installed" in text for text in texts)


def test_collections_that_cannot_be_used_are_warnings(machine, own_home) -> None:
    folder = own_home / "collections"
    folder.mkdir(parents=True)
    (folder / "default.db").write_text("This is a note.")
    (folder / "work.db").mkdir()
    texts = " ".join(row["text"] for row in findings(run("--json")))
    default, work = folder / "default.db", folder / "work.db"
    assert f"the collection default cannot be used: {default} is not an SQLite file" in texts
    assert f"the collection work cannot be used: {work} is not a file" in texts


def test_offline_is_shown(machine, monkeypatch) -> None:
    assert "offline             no" in run().stdout
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "offline             yes: HF_HUB_OFFLINE=1" in run().stdout


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("command", ["bundle verify", "bundle install", "doctor"])
def test_no_network_is_tried(command, bundle, tmp_path) -> None:
    if command == "doctor":
        install(bundle)
    arguments = [*command.split(), *([str(bundle)] if command != "doctor" else [])]
    trace = ["strace", "-f", "-qq", "-e", "trace=socket,connect", "-o", str(tmp_path / "trace")]
    done = subprocess.run(
        [*trace, sys.executable, "-m", "jlocal", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("this machine lets nobody trace")
    assert done.returncode == 0, done.stderr
    assert "AF_INET" not in (tmp_path / "trace").read_text()
