"""Build the kernels with the C++ compiler, in seconds: `python native/build.py OUTPUT`."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Compiled for any x86-64 processor.
PORTABLE = (
    "abi",
    "attention",
    "backend",
    "capture",
    "cpu",
    "dispatch",
    "entry",
    "graph",
    "pack",
    "product",
    "threads",
    "tokens",
    "weights",
)

# Without contraction, the rounding of a sum depends on its expression alone.
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno"),
    *("-fno-strict-aliasing", "-Wall", "-Wextra"),
    # GCC warns of its own immintrin.h.
    *("-Wno-uninitialized", "-Wno-maybe-uninitialized"),
)

_AMX = ("-mamx-tile", "-mamx-bf16")
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c")


@dataclass(frozen=True)
class Family:
    """Source files that are compiled for certain instruction sets, and run where a CPU has them.

    Attributes:
        macro: the macro that tells dispatch.cpp that the family was compiled.
        files: names of its sources.
        flags: its instruction sets, as the compiler names them.

    """

    macro: str
    files: tuple[str, ...]
    flags: tuple[str, ...]


FAMILIES = (
    Family(
        "JLOCAL_BF16_AMX",
        ("bf16_amx", "q8_amx", "attention_amx"),
        (*_AVX512, "-mavx512bf16", *_AMX),
    ),
    Family("JLOCAL_BF16", ("bf16", "attention_bf16"), (*_AVX512, "-mavx512bf16")),
    Family("JLOCAL_INT8", ("int8",), (*_AVX512, "-mavx512vnni")),
    Family("JLOCAL_INT8_VNNI256", ("int8_vnni256",), ("-mavx2", "-mfma", "-mavxvnni")),
    Family(
        "JLOCAL_AVX2",
        ("int8_avx2", "f32_avx2", "attention_avx2", "tokenwise_avx2"),
        ("-mavx2", "-mfma", "-mf16c"),
    ),
)


class BuildError(Exception):
    """The kernels cannot be built here; the message says why."""


def build(output: Path, compiler: str | None = None, flags: Sequence[str] = ()) -> tuple[str, ...]:
    """Compile the library.

    Args:
        output: the file to write; it is complete or absent.
        compiler: the C++ compiler; by default $CXX, else g++, c++ or clang++.
        flags: more flags for compiling and linking, such as "-fsanitize=address".

    Returns:
        The macros of the families that the compiler supports.

    Raises:
        BuildError: there is no compiler, it fails, or the kernels are not for this system.

    """
    if not sys.platform.startswith("linux") or platform.machine().lower() not in {
        "x86_64",
        "amd64",
    }:
        raise BuildError(
            f"the kernels are for Linux on x86-64, not {sys.platform} on {platform.machine()}"
        )
    command = _compiler(compiler)
    with tempfile.TemporaryDirectory(prefix="jlocal-build-") as folder:
        objects, families = _compile(command, flags, Path(folder))
        library = Path(folder) / "library.so"
        link = ("-shared", "-pthread", f"-Wl,--version-script={HERE / 'exports.map'}")
        _run([*command, *link, *flags, *map(str, objects), "-o", str(library), "-ldl"])
        output.parent.mkdir(parents=True, exist_ok=True)
        part = output.with_name(f".{output.name}.{os.getpid()}")
        shutil.copyfile(library, part)
        part.chmod(0o755)
        part.replace(output)
    return families


def _compile(
    command: list[str], flags: Sequence[str], folder: Path
) -> tuple[list[Path], tuple[str, ...]]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        known = [family for family in FAMILIES if _knows(command, family.flags)]
        macros = [f"-D{family.macro}" for family in known]
        jobs = [(name, tuple(macros)) for name in PORTABLE]
        # The largest first.
        jobs[:0] = [(name, family.flags) for family in known for name in family.files]

        def compiled(job: tuple[str, tuple[str, ...]]) -> Path:
            name, own = job
            target = folder / f"{name}.o"
            _run(
                [*command, *FLAGS, *own, *flags, "-c", str(HERE / f"{name}.cpp"), "-o", str(target)]
            )
            return target

        return list(pool.map(compiled, jobs)), tuple(family.macro for family in known)


def _compiler(named: str | None) -> list[str]:
    for name in (named or os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name.split()
    raise BuildError("there is no C++ compiler")


def _knows(command: list[str], flags: Sequence[str]) -> bool:
    check = [*command, *flags, "-fsyntax-only", "-x", "c++", os.devnull]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise BuildError(f"{command[0]} failed:\n{done.stderr[-4000:]}")
    if done.stderr:
        sys.stderr.write(done.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("flags", nargs="*", help="more flags, after --")
    arguments = parser.parse_args()
    try:
        print(*build(arguments.output, flags=arguments.flags))
    except BuildError as failure:
        sys.exit(str(failure))
