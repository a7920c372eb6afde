"""Bundles: made from real models, read from hostile hands, and carried across an air gap."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder, __version__
from jlocal.bundle import standalone, wheels
from jlocal.bundle.create import create
from jlocal.bundle.install import install, verify
from jlocal.bundle.standalone import MANIFEST, header
from jlocal.bundle.wheels import repack
from jlocal.errors import BundleError, ModelError, OutputError
from jlocal.models import registry
from jlocal.models.registry import reference_vector_file
from jlocal_convert import convert
from support.bundles import MEMBERS, MODEL, files_in, manifest, pack, run, sha256
from support.gguf_files import few_tokens, variant
from support.office_files import EVERY_KIND
from support.pdfs import pdf

# The user's own caches, before a fixture gives each test a home of its own.
PIP_CACHE = os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
PORTABLE = wheels._portable_folder()


@pytest.fixture(scope="module")
def models(small_checkpoint, nano_checkpoint, tmp_path_factory) -> list[Path]:
    """Return a file of each architecture, with few tokens."""
    folder = tmp_path_factory.mktemp("bundles")
    files = []
    for checkpoint in (small_checkpoint, nano_checkpoint):
        source = few_tokens(variant(checkpoint, folder / checkpoint.name))
        files += convert(source, tasks=("retrieval",), types=("Q8_0",), output=folder)
    return files


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


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
        with Embedder(there.path) as model:
            assert model.encode(stored["text"]) @ stored["vector"] > 0.9999
    # A second time, nothing changes.
    before = files_in(own_home)
    assert run("install", tmp_path / "b.tar").exit_code == 0
    assert files_in(own_home) == before


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
    assert verify(tmp_path / "b.tar").models[0]["name"] == "tiny"
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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_install_leaves_nothing(number, tmp_path, own_home) -> None:
    content = {"LICENSE": b"free\n", "models/tiny.gguf": MODEL + bytes(3 << 20)}
    (tmp_path / "b.tar").write_bytes(pack(None, content))
    command = [sys.executable, "-c", SLOWLY, str(tmp_path / "b.tar")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout.readline() == "5\n"
        assert int(child.stdout.readline()) == 1 << 20
        assert len(files_in(own_home)) == 1
        child.send_signal(number)
    assert child.returncode in (130, 143, -signal.SIGINT)
    assert not list(own_home.iterdir())


@pytest.mark.slow
def test_what_a_killed_install_left_goes_with_the_next_one(tmp_path, own_home) -> None:
    content = {"LICENSE": b"free\n", "models/tiny.gguf": MODEL + bytes(3 << 20)}
    (tmp_path / "b.tar").write_bytes(pack(None, content))
    command = [sys.executable, "-c", SLOWLY, str(tmp_path / "b.tar")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout.readline() == "5\n"
        assert int(child.stdout.readline()) == 1 << 20
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


# --- the program crosses as well -----------------------------------------------------------------

NEEDS = {
    "jlocal": "0.1.0",
    "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
    "platform": sysconfig.get_platform().replace("-", "_").replace(".", "_"),
    "cpu": [],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"cpu": ["avx2", "avx1024"]}, "a CPU with avx1024"),
        ({"python": "3.99"}, "Python 3.99"),
        ({"platform": "win_arm64" if os.name != "nt" else "linux_x86_64"}, "are for"),
        ({"glibc": "99.0"}, "glibc 99.0"),
        ({"libraries": ["libnone.so.9"]}, "libnone.so.9"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="tells the CPU and the libraries of Linux")
def test_install_refuses_a_machine_before_it_touches_it(needs, reason, tmp_path) -> None:
    members = MEMBERS | {"wheels/x.whl": b"x"}
    (tmp_path / "b.tar").write_bytes(pack(manifest(members, program=NEEDS | needs), members))
    done = subprocess.run(
        [sys.executable, "-I", standalone.__file__, "b.tar", "--venv", "new"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: b.tar: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert files_in(tmp_path) == {"b.tar"}


@pytest.mark.slow
def test_a_failed_install_of_the_program_leaves_no_environment(tmp_path) -> None:
    members = MEMBERS | {"wheels/x-1-py3-none-any.whl": b"no wheel"}
    (tmp_path / "b.tar").write_bytes(pack(manifest(members, program=NEEDS), members))
    done = subprocess.run(
        [sys.executable, "-I", standalone.__file__, "b.tar", "--venv", "new"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: b.tar: pip could not")
    assert files_in(tmp_path) == {"b.tar"}


def test_the_installer_needs_only_the_standard_library() -> None:
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, standalone.__file__],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded <= {*sys.stdlib_module_names, "__main__"}


def test_repacking_an_installed_distribution_is_reproducible(tmp_path) -> None:
    made = []
    for name in "ab":
        (tmp_path / name).mkdir()
        made.append(repack("click", tmp_path / name))
    assert made[0].read_bytes() == made[1].read_bytes()
    assert made[0].name == made[1].name
    with pytest.raises(BundleError, match="not installed"):
        repack("jlocal-none", tmp_path)


# Fails as pip does the first time, and makes a wheel the next.
PIP = """
import os, sys
from pathlib import Path

calls = Path(__file__).with_name("calls")
is_first = not calls.exists()
with calls.open("a") as file:
    print(os.environ["CMAKE_ARGS"], file=file)
if is_first:
    sys.exit("noise\\n  ERROR: no compiler\\n  error: subprocess-exited-with-error")
folder = Path(sys.argv[sys.argv.index("-w") + 1])
(folder / "llama_cpp_python-1-py3-none-linux_x86_64.whl").write_bytes(b"x")
"""


def test_llama_is_compiled_once_for_other_cpus(tmp_path, monkeypatch) -> None:
    (tmp_path / "path" / "pip").mkdir(parents=True)
    (tmp_path / "path" / "pip" / "__init__.py").touch()
    (tmp_path / "path" / "pip" / "__main__.py").write_text(PIP)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    with pytest.raises(BundleError, match=r"cannot compile .*: no compiler; .*native=True"):
        wheels._compile_portable()
    assert wheels._portable() == []
    wheels._compile_portable()
    assert [path.read_bytes() for path in wheels._portable()] == [b"x"]
    calls = (tmp_path / "path" / "pip" / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert all(call.startswith("-DGGML_CUDA=on ") for call in calls)
    assert all("-DGGML_NATIVE=OFF" in call for call in calls)
    monkeypatch.delenv("CMAKE_ARGS")
    assert wheels._portable() == []


def test_long_names_of_wheels_are_shortened() -> None:
    name = f"{60 * 'a'}-1-cp311-cp311-manylinux_2_28_x86_64.manylinux2014_x86_64.whl"
    assert wheels._shorten(name) == f"{60 * 'a'}-1-cp311-cp311-manylinux2014_x86_64.whl"
    assert wheels._shorten("a-1-py3-none-any.whl") == "a-1-py3-none-any.whl"


def alone(*command: object, cwd: Path) -> str:
    """Run a command in a network namespace without interfaces."""
    done = subprocess.run(
        ["unshare", "-rn", *map(str, command)],
        cwd=cwd, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def no_network() -> None:
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this kernel gives no network namespaces to this user")


@pytest.mark.slow
@pytest.mark.network_namespace
@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("build", ["native", "portable"])
def test_the_whole_crossing(build, models, tmp_path, monkeypatch) -> None:
    """The native build is the one that runs here: bit for bit; the portable one rounds otherwise.

    The portable one is compiled in minutes, so it is tried only where it is in the user's cache.
    """
    if build == "portable":
        if not list(PORTABLE.glob("*.whl")):
            pytest.skip("no portable build in the cache: jlocal bundle create --with-wheels")
        monkeypatch.delenv("JLOCAL_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(PORTABLE.parents[2]))
    monkeypatch.setenv("PIP_CACHE_DIR", PIP_CACHE)
    bundle = tmp_path / "b.tar"
    # Extras bring the program with them, as --with-wheels does.
    extras = build == "native"
    wanted = ("--native", "--extras", "jlocal[html, pdf,office]") if extras else ("--with-wheels",)
    done = run("create", *models, *wanted, "-o", bundle)
    assert done.exit_code == 0, done.output
    if extras:
        assert f"program  jlocal[html,pdf,office] {__version__} " in run("verify", bundle).stdout

    there = tmp_path / "there"
    there.mkdir()
    subprocess.run(["tar", "-xf", str(bundle), "install.py"], cwd=there, check=True)
    installed = alone(sys._base_executable, "install.py", bundle, cwd=there).split()
    assert installed == [path.stem for path in models]
    (there / "notes.txt").write_text("Mars is called the Red Planet.\nZwei Zeilen: ä, é, 中文.")
    for path in models:
        program, file = there / "jlocal-venv" / "bin" / "jlocal", f"{path.stem}.npy"
        alone(program, "embed", "notes.txt", "-m", path.stem, "-o", file, cwd=there)
        found = np.load(there / file)
        with Embedder(path) as model:
            expected = model.encode([(there / "notes.txt").read_text()])
        if build == "native":
            assert found.tobytes() == expected.tobytes()
        else:
            assert (found * expected).sum() >= 0.9999
    if extras:
        (there / "a.docx").write_bytes(EVERY_KIND["a.docx"])
        (there / "a.html").write_text("<p>Boats lie there.</p>")
        (there / "a.pdf").write_bytes(pdf("Boats lie there."))
        files = ("a.docx", "a.html", "a.pdf")
        found = alone(program, "embed", *files, "-m", models[0].stem, cwd=there)
        assert [json.loads(line)["id"] for line in found.splitlines()] == list(files)


def test_an_extra_that_does_not_exist_is_named(tmp_path) -> None:
    done = run("create", "--extras", "pdf, world", "-o", tmp_path / "b.tar")
    assert done.exit_code == 1
    assert "there is no extra 'world'; there are " in done.output
    assert "html, " in done.output
    assert "test" not in done.output
    assert not list(tmp_path.iterdir())


def test_a_platform_without_wheels_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_CACHE_DIR", PIP_CACHE)
    with pytest.raises(BundleError, match=r"no wheel of llama-cpp-python==\S+ for win_arm64"):
        create([], tmp_path / "b.tar", with_wheels=True, platform="win_arm64")
    assert not list(tmp_path.iterdir())


def test_errors_are_model_errors() -> None:
    assert issubclass(BundleError, ModelError)
