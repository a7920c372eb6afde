"""The machine of a benchmark."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from jlocal._version import __version__
from jlocal.embed.options import ComputeOptions


@dataclass(frozen=True)
class Machine:
    """The machine that the files were measured on.

    Attributes:
        gpu: whether llama.cpp has a GPU that `gpu_layers` does not rule out.
        system_info: llama.cpp's report of the instruction sets that it was built for.
        kernels: families of jlocal's own kernels that can be used.

    """

    cpu: str
    threads: int
    gpu: bool
    jlocal: str
    llama_cpp: str
    llama_cpp_python: str
    system_info: str
    kernels: list[str] = field(default_factory=list)


def this_machine(options: ComputeOptions) -> Machine:
    """Return this machine's properties, as far as these options use them."""
    from jlocal.llama.kernels import kernels
    from jlocal.llama.library import api, device_for
    from jlocal.llama.threads import default_threads

    return Machine(
        cpu=_cpu(),
        threads=options.threads or default_threads(),
        gpu=device_for(options.gpu_layers) == "gpu",
        jlocal=__version__,
        llama_cpp=api.llama_version().decode(),
        llama_cpp_python=version("llama-cpp-python"),
        system_info=api.llama_print_system_info().decode().strip(" |"),
        kernels=list(kernels().families),
    )


def _cpu() -> str:
    """Return the name of the processor; on most systems `platform` knows only its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine()
