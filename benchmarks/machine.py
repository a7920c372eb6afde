"""The hardware and the versions behind the figures."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

# Instruction sets for which llama.cpp and torch have kernels.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
_PACKAGES = ("jlocal", "llama-cpp-python", "sentence-transformers", "transformers", "torch")


def describe(device: str) -> str:
    """Describe the processor, its CPUs, its memory, and the GPU if one is used."""
    name, flags = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        found = {key.strip(): value.strip() for key, _, value in lines}
        name = found.get("model name", name)
        known = found.get("flags", "").split()
        flags = "".join(f" {flag}" for flag in _FLAGS if flag in known)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{name}{flags and f' ({flags.strip()})'}", f"{os.cpu_count()} CPUs"]
    parts += [f"{memory:.0f} GiB", f"{platform.system()} {platform.release()}"]
    return ", ".join(parts + ([_gpu()] if device != "cpu" else []))


def _gpu() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def versions() -> str:
    """List the versions of the compared programs."""
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            if package == "jlocal":  # run from a checkout
                from jlocal._version import __version__

                found.append(f"jlocal {__version__}")
    program = shutil.which("llama-server")
    if program:
        done = subprocess.run([program, "--version"], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        version = [line for line in lines if line.startswith("version: ")]
        found.append("llama-server" + "".join(f" {line[9:]}" for line in version))
    return ", ".join([f"Python {platform.python_version()}", *found])


def bfloat16_peak(device: str, threads: int) -> float | None:
    """Return the operations per second of a large bfloat16 matrix product; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    if device != "cpu" and not torch.cuda.is_available():
        return None
    torch.set_num_threads(threads)
    size = 4096 if device == "cpu" else 16384
    a = torch.randn(size, size).to(torch.bfloat16).to(device)
    times = []
    for _ in range(10):
        begin = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for a GPU
        times.append(time.perf_counter() - begin)
    return 2 * size**3 / min(times)
