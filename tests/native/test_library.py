"""The library as a whole: its build, its symbols, its place in ggml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.kernels import ROOT, Kernels, load_build

pytestmark = pytest.mark.skipif(
    "KERNELS_UNDER_TEST" in os.environ, reason="these tests are not of the kernels themselves"
)

REGISTER = """
import ctypes, sys
from jlocal.llama import library
ggml, base = ctypes.CDLL("libggml.so.0"), ctypes.CDLL("libggml-base.so.0")
pointer, text = ctypes.c_void_p, ctypes.c_char_p
for function, result, argument in (
    (ggml.ggml_backend_load, pointer, text),
    (ggml.ggml_backend_dev_get, pointer, ctypes.c_size_t),
    (base.ggml_backend_dev_name, text, pointer),
    (base.ggml_backend_dev_buffer_type, pointer, pointer),
    (base.ggml_backend_buft_name, text, pointer),
):
    function.restype, function.argtypes = result, [argument]
kernels = ctypes.CDLL(sys.argv[1])
assert ggml.ggml_backend_load(sys.argv[1].encode())
assert ggml.ggml_backend_dev_count() == 2
names = {}
for number in range(2):
    device = ggml.ggml_backend_dev_get(number)
    names[base.ggml_backend_dev_name(device).decode()] = device
for chosen, expected in (("bf16", "JLOCAL"), ("", "CPU"), ("int8", "JLOCAL"), ("int4", "CPU")):
    known = kernels.jlocal_kernels_configure(chosen.encode(), 1, 0)
    kind = base.ggml_backend_buft_name(base.ggml_backend_dev_buffer_type(names["JLOCAL"])).decode()
    assert known == (chosen != "int4"), chosen
    assert kind == expected, (chosen, kind)
"""


def test_ggml_takes_the_library_as_a_device_whose_buffers_are_those_of_the_chosen_type(
    library: Path, kernels: Kernels
) -> None:
    if not {"bf16", "int8"} <= set(kernels.families):
        pytest.skip("this processor lacks one of the families")
    done = subprocess.run(
        [sys.executable, "-c", REGISTER, str(library)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_without_ggml_the_library_refuses_to_work(library: Path) -> None:
    program = (
        "import ctypes, sys; library = ctypes.CDLL(sys.argv[1]);"
        "library.jlocal_kernels_refusal.restype = ctypes.c_char_p;"
        "library.ggml_backend_init.restype = ctypes.c_void_p;"
        "assert b'not loaded' in library.jlocal_kernels_refusal();"
        "assert library.ggml_backend_init() is None"
    )
    subprocess.run([sys.executable, "-c", program, str(library)], check=True)


@pytest.mark.skipif(not shutil.which("nm"), reason="there is no nm")
def test_the_library_shows_no_names_but_its_own(library: Path) -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in listed.stdout.splitlines()]
    assert "ggml_backend_init" in names
    assert all(name.startswith(("jlocal_kernels_", "ggml_backend_")) for name in names)


@pytest.mark.skipif(not shutil.which("nm"), reason="there is no nm")
def test_files_for_newer_processors_hold_no_function_that_others_could_be_linked_to(
    library: Path, tmp_path: Path
) -> None:
    """Of an inline function in several files the linker keeps one copy, perhaps with AVX-512."""
    assert library.exists()
    build = load_build()
    for family in build.FAMILIES:
        for name in family.files:
            target = tmp_path / f"{name}.o"
            flags = [*build.FLAGS, *family.flags, "-O1"]
            source = str(ROOT / "native" / f"{name}.cpp")
            subprocess.run(["g++", *flags, "-c", source, "-o", target], check=True)
            listed = subprocess.run(
                ["nm", "--defined-only", target], capture_output=True, text=True, check=True
            )
            shared = [line for line in listed.stdout.splitlines() if line.split()[-2] in "WVuw"]
            assert not shared


def test_a_missing_or_failing_compiler_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    build = load_build()
    output = tmp_path / "kernels.so"
    with pytest.raises(build.BuildError, match="failed"):
        build.build(output, flags=["--no-such-flag"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("processor", "families"), [("Haswell", "int8-avx2,f32-avx2,attention"), ("Westmere", "")]
)
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="there is no qemu-x86_64")
def test_an_older_processor_runs_the_kernels_that_it_knows(
    library: Path, processor: str, families: str
) -> None:
    script = Path(__file__).with_name("other_cpu.py")
    emulate = ["qemu-x86_64", "-cpu", processor, sys.executable, "-W", "ignore", str(script)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem"}
    arguments = [str(library), str(ROOT / "tests"), families]
    done = subprocess.run([*emulate, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow(times=40)
@pytest.mark.skipif(not shutil.which("g++"), reason="the sanitizers' libraries are GCC's")
def test_the_kernels_touch_no_memory_but_theirs_and_behave_as_defined(
    library: Path, tmp_path: Path
) -> None:
    assert library.exists()
    build = load_build()
    path = tmp_path / "kernels.so"
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1", "-O1"]
    build.build(path, compiler="g++", flags=sanitize)
    runtime = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    ]
    environment = os.environ | {
        "KERNELS_UNDER_TEST": str(path),
        "LD_PRELOAD": ":".join(runtime),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    tests = [
        str(Path(__file__).with_name(f"test_{name}.py"))
        for name in ("products", "attention", "tokenwise")
    ]
    # Instructions of AMX are written out, and no sanitizer sees what they do; two masks suffice.
    fewer = "not (attention_of_float64 and (amx or none or texts or slopes))"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-k",
        fewer,
        *tests,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
