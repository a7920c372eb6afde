"""The library of kernels for tests, and references in float64 for its results."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

F32, F16, Q8_0, BF16 = 0, 1, 8, 30
BLOCK = 32


def load_build() -> ModuleType:
    """Import native/build.py, which is not in a package."""
    spec = importlib.util.spec_from_file_location("native_build", ROOT / "native/build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Kernels:
    """The functions of a compiled library."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.jlocal_kernels_families.restype = ctypes.c_char_p
        self.library.jlocal_kernels_refusal.restype = ctypes.c_char_p
        size, pointer = ctypes.c_int64, ctypes.c_void_p
        self.library.jlocal_kernels_test_mul_mat.argtypes = [
            *(ctypes.c_char_p, size, size, size, ctypes.c_int, pointer, pointer, pointer),
            ctypes.c_int,
        ]
        self.library.jlocal_kernels_test_gated.argtypes = [
            *(ctypes.c_char_p, size, size, size, size),
            *(pointer, pointer, pointer, pointer, pointer),
            ctypes.c_int,
        ]
        self.library.jlocal_kernels_test_tokenwise.argtypes = [pointer, ctypes.c_int]
        self.library.jlocal_kernels_test_attention.argtypes = [
            *(ctypes.c_char_p, size, size, size, size, size, size),
            *(pointer, pointer, pointer, pointer),
            *(ctypes.c_float, pointer, ctypes.c_int, ctypes.c_int),
        ]

    @property
    def families(self) -> list[str]:
        return self.library.jlocal_kernels_families().decode().split(",")

    def multiply(
        self, family: str, x: Floats, weights: npt.NDArray, kind: int, n: int, threads: int = 1
    ) -> Floats:
        """Return (M, N) for x of (M, K) and `n` rows of weights in a type of ggml's."""
        m, k = x.shape
        out = np.full((m, n), 7e7, np.float32)
        x, weights = np.ascontiguousarray(x), np.ascontiguousarray(weights)
        status = self.library.jlocal_kernels_test_mul_mat(
            *(family.encode(), m, n, k, kind, weights.ctypes.data, x.ctypes.data, out.ctypes.data),
            threads,
        )
        assert status == 0
        return out

    def feed_forward(
        self, family: str, x: Floats, gate: Floats, up: Floats, down: Floats, threads: int = 1
    ) -> Floats | None:
        """Return (M, O) for x (M, K), gate and up (N, K) and down (O, N).

        None if the family takes three products for it.
        """
        (m, k), (o, n) = x.shape, down.shape
        out = np.full((m, o), 7e7, np.float32)
        status = self.library.jlocal_kernels_test_gated(
            *(family.encode(), m, n, k, o),
            *(gate.ctypes.data, up.ctypes.data, down.ctypes.data, x.ctypes.data, out.ctypes.data),
            threads,
        )
        return out if status == 0 else None

    def attend(
        self,
        q: Floats,
        k: npt.NDArray[np.float16],
        v: npt.NDArray[np.float16],
        mask: npt.NDArray[np.float16] | None,
        scale: float,
        threads: int = 1,
        name: str = "bf16",
        dtype: npt.DTypeLike = np.float32,
    ) -> npt.NDArray:
        """Return (queries, heads, DV) for q (heads, queries, D), and k and v by heads of keys.

        As float32, or as the bits of bfloat16 with dtype uint16.
        """
        heads, queries, size = q.shape
        key_heads, keys, depth = v.shape
        out = np.full((queries, heads, depth), 7777, dtype)
        status = self.library.jlocal_kernels_test_attention(
            name.encode(),
            *(queries, keys, heads, key_heads, size, depth),
            *(q.ctypes.data, k.ctypes.data, v.ctypes.data),
            None if mask is None else mask.ctypes.data,
            *(scale, out.ctypes.data, int(out.dtype == np.uint16), threads),
        )
        assert status == 0
        return out


def to_bf16(x: Floats) -> npt.NDArray[np.uint16]:
    """Round finite values to bfloat16, ties to even."""
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(x: npt.NDArray[np.uint16]) -> Doubles:
    return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def to_int8(x: Floats, scale: npt.DTypeLike = np.float32) -> Doubles:
    """Round each block of 32 values to multiples of a 127th of its largest, in float32 as Q8_0.

    The multiples are then of the 127th in the type `scale`.
    """
    blocks = x.reshape(*x.shape[:-1], -1, BLOCK)
    most = np.abs(blocks).max(axis=-1, keepdims=True)
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most > 0)
    whole = np.rint(blocks * inverse).astype(np.float64)
    steps = (most / np.float32(127)).astype(scale).astype(np.float64)
    return (whole * steps).reshape(x.shape)


def product(family: str, x: Floats, w: Floats) -> Doubles:
    """Return the expected product of a family, except for the order of its sums."""
    if family.startswith("int8"):
        return to_int8(x) @ to_int8(w, np.float16 if family == "int8" else np.float32).T
    rows = x.astype(np.float64) if family.startswith("f32") else from_bf16(to_bf16(x))
    if family.endswith("q8"):
        w = to_int8(w, np.float16).astype(np.float32)
    return rows @ from_bf16(to_bf16(w)).T


def error(out: Floats, expected: Doubles, x: Floats, w: Floats) -> float:
    """Return the largest error, in units of the product of the lengths of both rows."""
    lengths = np.linalg.norm(x.astype(np.float64), axis=1)[:, None] * np.linalg.norm(
        w.astype(np.float64), axis=1
    )
    return float((np.abs(out - expected) / (lengths + 1e-30)).max(initial=0))


def attention(
    q: Floats,
    k: npt.NDArray[np.float16],
    v: npt.NDArray[np.float16],
    mask: npt.NDArray[np.float16] | None,
    scale: float,
) -> Doubles:
    """Return (queries, heads, DV); a row that sees no key is zero, hidden keys are left out."""
    group = len(q) // len(k)
    keys = np.repeat(k, group, axis=0).astype(np.float64)
    values = np.repeat(v, group, axis=0).astype(np.float64)
    out = np.zeros((q.shape[1], q.shape[0], v.shape[2]))
    for row in range(q.shape[1]):
        seen = np.ones(k.shape[1], bool) if mask is None else mask[row] != -np.inf
        if not seen.any():
            continue
        scores = np.einsum("hd,hkd->hk", q[:, row].astype(np.float64), keys[:, seen]) * scale
        if mask is not None:
            scores += mask[row, seen].astype(np.float64)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        out[row] = np.einsum("hk,hkd->hd", weights, values[:, seen])
    return out


def masks(rng: np.random.Generator, queries: int, keys: int, kind: str) -> npt.NDArray[np.float16]:
    """Return a mask: "causal", "holes" (rows and blocks too), "texts" side by side, "slopes"."""
    mask = np.zeros((queries, keys), np.float16)
    row, column = np.arange(queries)[:, None], np.arange(keys)[None]
    if kind == "causal":
        mask[column > row + keys - queries] = -np.inf
    elif kind == "holes":
        mask[rng.random(mask.shape) < 0.6] = -np.inf
        mask[:, keys // 5 : keys // 2] = -np.inf
        mask[queries // 2 :: 7] = -np.inf
    elif kind == "texts":
        mask[column * 5 // keys != row * 5 // queries] = -np.inf
    elif kind == "slopes":
        mask[:] = -np.abs(row - column) / 16
    return mask


def normal(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    return rng.standard_normal(shape).astype(np.float32)
