"""Bundles that carry the program: wheels, the installer, and a crossing of an air gap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder, __version__
from jlocal.bundle import standalone, wheels
from jlocal.bundle.create import create
from jlocal.bundle.wheels import repack
from jlocal.errors import BundleError
from support.bundles import MEMBERS, files_in, manifest, pack, run
from support.office_files import EVERY_KIND
from support.pdfs import pdf

# The user's own caches, before a fixture gives each test a home of its own.
PIP_CACHE = os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")


PORTABLE = wheels._portable_folder()


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


@pytest.mark.slow(times=30)
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


@pytest.mark.slow
def test_a_platform_without_wheels_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_CACHE_DIR", PIP_CACHE)
    with pytest.raises(BundleError, match=r"no wheel of llama-cpp-python==\S+ for win_arm64"):
        create([], tmp_path / "b.tar", with_wheels=True, platform="win_arm64")
    assert not list(tmp_path.iterdir())
