"""The wheel: with kernels where there is a compiler, and without them everywhere else."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jlocal.bundle.wheels import repack

ROOT = Path(__file__).resolve().parents[2]
PLACE = "jlocal/llama/libjlocal_kernels"

pytestmark = pytest.mark.slow

compiled = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or not shutil.which("g++"),
    reason="the kernels are for Linux on x86-64, with a C++ compiler",
)


def build(folder: Path, **environment: str) -> tuple[str, dict[str, bytes]]:
    """Return the name of the wheel, and the files of the kernels in it."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.startswith(PLACE)]
        return path.name, {name: wheel.read(name) for name in names}


@compiled
def test_a_wheel_holds_the_kernels_and_fits_every_python(tmp_path) -> None:
    name, files = build(tmp_path)
    assert name.endswith("-py3-none-linux_x86_64.whl")
    assert list(files) == [f"{PLACE}.so"]
    # The same source gives the same bytes, or two bundles of it would differ.
    assert build(tmp_path / "again")[1] == files


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"PATH": "", "CXX": ""}, "no C++ compiler"),
        ({"CXX": "false"}, "could not be compiled"),
        ({"JLOCAL_BUILD_KERNELS": "0"}, "JLOCAL_BUILD_KERNELS=0"),
    ],
)
def test_without_a_compiler_the_wheel_is_an_ordinary_one_that_says_why(
    tmp_path, environment, reason
) -> None:
    name, files = build(tmp_path, **environment)
    assert name.endswith("-py3-none-any.whl")
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert reason in files[f"{PLACE}.txt"].decode()
    assert list(files) == [f"{PLACE}.txt"]


@compiled
def test_a_bundle_for_another_platform_takes_no_library_along(tmp_path, monkeypatch) -> None:
    """Repacked from an installation as `pip` makes it, not from a checkout."""
    build(tmp_path)
    (path,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    for pure, tag in ((False, "linux_x86_64"), (True, "any")):
        folder = tmp_path / tag
        folder.mkdir()
        made = repack("jlocal", folder, pure=pure)
        assert made.name.endswith(f"-py3-none-{tag}.whl")
        with zipfile.ZipFile(made) as wheel:
            assert (f"{PLACE}.so" in wheel.namelist()) is not pure
            (info,) = [name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL")]
            assert wheel.read(info).decode().count(f"Tag: py3-none-{tag}") == 1
