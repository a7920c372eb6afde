"""Products with packed weights, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from jlocal.gguf.types import TENSOR_TYPES
from jlocal.llama.library import ggml
from support.graphs import Graph
from support.kernels import BF16, F32, Q8_0, Kernels, error, normal, product, to_bf16

SHAPES = [
    *((m, 33, 64) for m in range(1, 15)),
    *((3, n, 32) for n in (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)),
    *((5, 40, k) for k in (32, 64, 96, 160, 1024, 3072)),
    *((m, 130, 96) for m in (47, 64, 257, 512, 700)),
]


@pytest.mark.parametrize("threads", [1, 3])
def test_products_of_all_shapes_are_those_of_float64(
    kernels: Kernels, family: str, threads: int
) -> None:
    rng = np.random.default_rng(0)
    for m, n, k in SHAPES:
        x, w = normal(rng, (m, k)), normal(rng, (n, k))
        out = kernels.multiply(family, x, w, F32, n, threads)
        assert error(out, product(family, x, w), x, w) < 2e-6, (m, n, k)


def test_a_large_product_shared_among_threads_is_that_of_float64(
    kernels: Kernels, family: str
) -> None:
    rng = np.random.default_rng(1)
    x, w = normal(rng, (600, 512)), normal(rng, (500, 512))
    alone = kernels.multiply(family, x, w, F32, 500)
    assert error(alone, product(family, x, w), x, w) < 2e-6
    for threads in (2, 5):
        assert np.array_equal(kernels.multiply(family, x, w, F32, 500, threads), alone)


def test_a_row_gives_the_same_result_whatever_stands_beside_it(
    kernels: Kernels, family: str
) -> None:
    rng = np.random.default_rng(2)
    x, w = normal(rng, (29, 256)), normal(rng, (70, 256))
    whole = kernels.multiply(family, x, w, F32, 70)
    for count in range(1, 29):
        assert np.array_equal(kernels.multiply(family, x[:count], w, F32, 70), whole[:count])
        assert np.array_equal(kernels.multiply(family, x[-count:], w, F32, 70), whole[-count:])


def test_no_rows_are_no_work(kernels: Kernels, family: str) -> None:
    w = normal(np.random.default_rng(3), (64, 32))
    assert kernels.multiply(family, np.empty((0, 32), np.float32), w, F32, 64).shape == (0, 64)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_its_own_row_or_column_alone(
    kernels: Kernels, family: str, value: float
) -> None:
    rng = np.random.default_rng(4)
    x, w = normal(rng, (9, 96)), normal(rng, (45, 96))
    clean = kernels.multiply(family, x, w, F32, 45)
    spoilt, weights = x.copy(), w.copy()
    spoilt[4, 50], weights[44, 70] = value, value
    out = kernels.multiply(family, spoilt, weights, F32, 45)
    assert not np.isfinite(out[4]).any()
    assert not np.isfinite(out[:, 44]).any()
    rest = np.delete(np.delete(out, 4, axis=0), 44, axis=1)
    assert np.array_equal(rest, np.delete(np.delete(clean, 4, axis=0), 44, axis=1))


def test_values_near_the_ends_of_float32_stay_right(kernels: Kernels, family: str) -> None:
    rng = np.random.default_rng(5)
    x, w = normal(rng, (7, 64)), normal(rng, (33, 64))
    for factor in (1e-42, 1e-39, 1e-37, 1e-30, 1e30):
        scaled = (x * np.float32(factor)).astype(np.float32)
        out = kernels.multiply(family, scaled, w, F32, 33)
        expected = scaled.astype(np.float64) @ w.T.astype(np.float64)
        assert np.isfinite(out).all()
        assert np.abs(out - expected).max() <= 0.05 * np.abs(expected).max() + 1e-35
    assert not kernels.multiply(family, np.zeros((3, 64), np.float32), w, F32, 33).any()


def test_weights_of_the_family_s_own_type_are_taken_as_they_are(
    kernels: Kernels, family: str
) -> None:
    rng = np.random.default_rng(6)
    x, w = normal(rng, (6, 128)), normal(rng, (50, 128))
    if family.startswith("int8") or family.endswith("q8"):
        # All scales are powers of two, so that float16 holds them.
        w = rng.integers(-126, 127, (50, 128)).astype(np.float32)
        w.reshape(50, 4, 32)[:, :, 0] = 127
        stored, kind = _quantised(w, Q8_0), Q8_0
    else:
        w = (to_bf16(w).astype(np.uint32) << 16).view(np.float32)
        stored, kind = to_bf16(w), BF16
    assert np.array_equal(
        kernels.multiply(family, x, stored, kind, 50), kernels.multiply(family, x, w, F32, 50)
    )


@pytest.mark.parametrize(("m", "n", "k"), [(5, 70, 96), (33, 200, 3072), (300, 64, 1056)])
def test_weights_kept_in_8_bits_give_the_same_bits_as_widened_ones(
    kernels: Kernels, m: int, n: int, k: int
) -> None:
    if "bf16-amx-q8" not in kernels.families:
        pytest.skip("this processor does not run bf16-amx-q8")
    rng = np.random.default_rng(8)
    x, stored = normal(rng, (m, k)), _quantised(normal(rng, (n, k)), Q8_0)
    assert np.array_equal(
        kernels.multiply("bf16-amx-q8", x, stored, Q8_0, n, threads=2),
        kernels.multiply("bf16-amx", x, stored, Q8_0, n),
    )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("m", "n", "k", "o"),
    [
        (1, 32, 32, 1),
        (12, 3072, 1024, 64),
        (32, 160, 96, 70),
        (33, 96, 992, 65),
        (300, 416, 64, 33),
    ],
)
def test_a_gate_within_the_products_gives_the_same_bits_as_beside_them(
    kernels: Kernels, family: str, m: int, n: int, k: int, o: int, threads: int
) -> None:
    rng = np.random.default_rng(9)
    x, down = normal(rng, (m, k)), normal(rng, (o, n))
    gate, up = (normal(rng, (n, k)) / np.float32(np.sqrt(k)) for _ in "gu")
    gate[n // 2] *= 1000  # products beyond 88, where the exponential ends
    out = kernels.feed_forward(family, x, gate, up, down, threads)
    if family in {"int8-vnni256", "int8-avx2", "f32-avx2"}:
        assert out is None
        return
    products = (kernels.multiply(family, x, w, F32, n) for w in (gate, up))
    with Graph() as graph:
        passed = graph.add("swiglu_split", *(graph.tensor(values) for values in products))
        assert kernels.library.jlocal_kernels_test_tokenwise(graph.pointer, 1) == 1
        expected = kernels.multiply(family, graph.values(passed).reshape(m, n), down, F32, o)
    assert np.array_equal(out, expected)


def test_a_product_in_parts_of_its_depth_is_that_of_float64(kernels: Kernels, family: str) -> None:
    rng = np.random.default_rng(10)
    x, w = normal(rng, (70, 2080)), normal(rng, (99, 2080))
    out = kernels.multiply(family, x, w, F32, 99)
    assert error(out, product(family, x, w), x, w) < 2e-6


@pytest.mark.parametrize("name", sorted(TENSOR_TYPES))
def test_weights_of_every_type_are_read(kernels: Kernels, family: str, name: str) -> None:
    kind = TENSOR_TYPES[name].number
    rng = np.random.default_rng(7)
    x, w = normal(rng, (5, 512)), normal(rng, (37, 512))
    if name != "F32":
        if name.startswith(("IQ1", "IQ2_XXS", "IQ2_XS")):
            pytest.skip("ggml quantises to this type with an importance matrix alone")
        stored = _quantised(w, kind)
        w = _dequantised(stored, name, w.shape)
    else:
        stored = w
    out = kernels.multiply(family, x, stored, kind, 37, threads=2)
    # Q8_0's scale is in float16 in the file, and a family may round weights of another type again.
    expected = x.astype(np.float64) @ w.T.astype(np.float64)
    assert error(out, expected, x, w) < 4e-3


def _quantised(w: np.ndarray, kind: int) -> np.ndarray:
    rows, size = w.shape
    out = np.empty((rows, ggml.ggml_row_size(kind, size)), np.uint8)
    w = np.ascontiguousarray(w, np.float32)
    ggml.ggml_quantize_chunk(kind, w.ctypes.data, out.ctypes.data, 0, rows, size, None)
    return out


def _dequantised(stored: np.ndarray, name: str, shape: tuple[int, int]) -> np.ndarray:
    import gguf

    return gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[name]).reshape(shape)
