"""llama.cpp's build, and its names of CPU instruction sets beside those of /proc/cpuinfo.

Nothing here loads llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

# Where a model computes.
Device = Literal["cpu", "gpu"]

# ggml_cpu_has_* in ggml's ggml-cpu.c, and /proc/cpuinfo.
FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "SSE3": "pni",
        "SSSE3": "ssse3",
        "AVX": "avx",
        "AVX2": "avx2",
        "F16C": "f16c",
        "FMA": "fma",
        "BMI2": "bmi2",
        "AVX_VNNI": "avx_vnni",
        "AVX512": "avx512f",
        "AVX512_VBMI": "avx512vbmi",
        "AVX512_VNNI": "avx512_vnni",
        "AVX512_BF16": "avx512_bf16",
        "AMX_INT8": "amx_int8",
        "NEON": "asimd",
        "FP16_VA": "asimdhp",
        "DOTPROD": "asimddp",
        "MATMUL_INT8": "i8mm",
        "SVE": "sve",
        "SME": "sme",
    }
)


@dataclass(frozen=True)
class BuildInfo:
    """The build of llama.cpp, the GPUs that it sees, and jlocal's own kernels.

    Attributes:
        system_info: llama.cpp's report of the instruction sets that it was built for.
        backends: names of the compiled backends, such as "cpu".
        gpus: descriptions of the GPUs.
        kernels: families of jlocal's own kernels that this CPU can run.
        no_kernels: why there are none; None if there are.

    """

    version: str
    system_info: str
    gpu_offload: bool
    backends: list[str]
    gpus: list[str]
    kernels: list[str] = field(default_factory=list)
    no_kernels: str | None = None


def features_in(system_info: str) -> frozenset[str]:
    """Return the features that a line such as "CPU : AVX = 1 | FMA = 1 |" of llama.cpp lists."""
    words = (word.rsplit(":", 1)[-1].partition("=") for word in system_info.split("|"))
    return frozenset(name.strip() for name, _, value in words if value.strip() == "1")
