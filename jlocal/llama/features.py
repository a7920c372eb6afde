"""CPU instruction sets: llama.cpp's names for them, and those of /proc/cpuinfo."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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


def features_in(system_info: str) -> frozenset[str]:
    """Return the features that a line such as "CPU : AVX = 1 | FMA = 1 |" of llama.cpp lists."""
    words = (word.rsplit(":", 1)[-1].partition("=") for word in system_info.split("|"))
    return frozenset(name.strip() for name, _, value in words if value.strip() == "1")
