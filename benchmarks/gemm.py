"""The rates of jlocal's matrix kernels on one core, beside the processor's peak and ggml's kernels.

    python benchmarks/gemm.py [--rows 12 64 512]

All take turns, and the processor time of one thread is measured, so other programs matter little.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy as np

from jlocal.llama.library import FOLDER, ggml

ROOT = Path(__file__).parents[1]

# N and K of the matrices in small: query, key, output, gate and up, down.
SHAPES = ((2048, 1024), (1024, 1024), (1024, 2048), (3072, 1024), (1024, 3072))
# The type of ggml that a family replaces.
BESIDE = {
    "bf16-amx": "BF16",
    "bf16": "BF16",
    "int8": "Q8_0",
    "bf16-amx-q8": "Q8_0",
    "int8-vnni256": "Q8_0",
    "int8-avx2": "Q8_0",
    "f32-avx2": "F16",
}
TYPES = {"F16": 1, "Q8_0": 8, "BF16": 30}


class Ggml:
    """One product by ggml's CPU backend, with weights as stored in a file."""

    def __init__(self, m: int, n: int, k: int, kind: str) -> None:
        base, cpu = (
            ctypes.CDLL(str(next(FOLDER.glob(f"lib{name}.so*"))))
            for name in ("ggml-base", "ggml-cpu")
        )
        pointer, size = ctypes.c_void_p, ctypes.c_int64

        class Parameters(ctypes.Structure):
            _fields_ = (("size", ctypes.c_size_t), ("memory", pointer), ("no_alloc", ctypes.c_bool))

        def call(
            library: ctypes.CDLL, name: str, result: object, *types: object
        ) -> ctypes._CFuncPtr:
            function = getattr(library, name)
            function.restype, function.argtypes = result, types
            return function

        memory = 16 * (m + n) * k + 4 * m * n + (64 << 20)
        self._context = call(base, "ggml_init", pointer, Parameters)(
            Parameters(memory, None, False)
        )
        new = call(base, "ggml_new_tensor_2d", pointer, pointer, ctypes.c_int, size, size)
        weights, x = new(self._context, TYPES[kind], k, n), new(self._context, 0, k, m)
        data = call(base, "ggml_get_data", pointer, pointer)
        rng = np.random.default_rng(0)
        values = [np.float32(rng.standard_normal(shape)) for shape in ((n, k), (m, k))]
        ggml.ggml_quantize_chunk(TYPES[kind], values[0].ctypes.data, data(weights), 0, n, k, None)
        ctypes.memmove(data(x), values[1].ctypes.data, values[1].nbytes)
        product = call(base, "ggml_mul_mat", pointer, pointer, pointer, pointer)(
            self._context, weights, x
        )
        self._graph = call(base, "ggml_new_graph", pointer, pointer)(self._context)
        call(base, "ggml_build_forward_expand", None, pointer, pointer)(self._graph, product)
        self._compute = call(
            cpu, "ggml_graph_compute_with_ctx", ctypes.c_int, pointer, pointer, ctypes.c_int
        )
        self._free = call(base, "ggml_free", None, pointer)

    def seconds(self, repetitions: int) -> float:
        """Return the minimum processor time of one product."""
        times = []
        for _ in range(repetitions):
            begin = time.thread_time()
            self._compute(self._context, self._graph, 1)
            times.append(time.thread_time() - begin)
        return min(times)

    def close(self) -> None:
        """Free the memory."""
        self._free(self._context)


def main() -> None:
    """Compile the library and the loops, measure in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[12, 64, 512])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library, peaks = Path(folder) / "kernels.so", Path(folder) / "peaks.so"
        _build().build(library)
        subprocess.run(
            [
                "g++",
                "-O2",
                "-shared",
                "-fPIC",
                str(Path(__file__).with_suffix(".cpp")),
                "-o",
                str(peaks),
            ],
            check=True,
        )
        kernels, loops = ctypes.CDLL(str(library)), ctypes.CDLL(str(peaks))
    seconds = kernels.jlocal_kernels_test_seconds
    seconds.restype = ctypes.c_double
    seconds.argtypes = [ctypes.c_char_p, *[ctypes.c_int64] * 3, ctypes.c_int]
    kernels.jlocal_kernels_families.restype = ctypes.c_char_p
    families = [
        name for name in kernels.jlocal_kernels_families().decode().split(",") if name in BESIDE
    ]

    print(
        f"load {os.getloadavg()[0]:.1f}; G operations a second on one core, "
        f"medians of {arguments.rounds} rounds"
    )
    print(
        f"{'family':14}{'rows':>6}{'N x K':>13}{'here':>8}{'peak':>8}{'share':>8}{'ggml':>8}"
        f"{'its type':>9}"
    )
    for family in families:
        peak = getattr(loops, f"peak_{family.removesuffix('-q8').replace('-', '_')}")
        peak.restype = ctypes.c_double
        for m in arguments.rows:
            for n, k in SHAPES:
                work, repetitions = 2 * m * n * k / 1e9, max(2, 4096 // m // 4)
                rival = Ggml(m, n, k, BESIDE[family])
                rounds = [
                    (
                        work / seconds(family.encode(), m, n, k, repetitions),
                        peak(),
                        work / rival.seconds(repetitions),
                    )
                    for _ in range(arguments.rounds)
                ]
                rival.close()
                here, most, other = (
                    statistics.median(column) for column in zip(*rounds, strict=True)
                )
                print(
                    f"{family:14}{m:6}{n:6} x{k:5}{here:8.0f}{most:8.0f}{here / most:8.0%}"
                    f"{other:8.0f}{BESIDE[family]:>9}",
                    flush=True,
                )


def _build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("native_build", ROOT / "native/build.py")
    if not spec or not spec.loader:
        raise ImportError("native/build.py is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
