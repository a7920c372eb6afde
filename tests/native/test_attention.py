"""Attention against float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from support.kernels import Floats, attention, masks, normal, to_bf16

Attend = Callable[..., Floats]

# Queries, keys, heads, heads of keys, sizes of a key and of a value.
SHAPES = [
    (1, 1, 1, 1, 16, 16),
    (1, 700, 4, 2, 64, 64),
    (5, 7, 2, 1, 64, 64),
    (31, 63, 3, 3, 80, 48),
    (32, 64, 2, 2, 32, 64),
    (33, 65, 4, 1, 96, 112),
    (64, 512, 2, 1, 128, 128),
    (100, 513, 6, 2, 128, 64),
    (257, 1300, 2, 1, 128, 128),
    (40, 90, 40, 1, 64, 64),
    (20, 130, 1, 1, 512, 512),
]


def _inputs(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    queries, keys, heads, key_heads, size, depth = shape
    return (
        2 * normal(rng, (heads, queries, size)),
        normal(rng, (key_heads, keys, size)).astype(np.float16),
        normal(rng, (key_heads, keys, depth)).astype(np.float16),
    )


@pytest.mark.parametrize("kind", ["none", "causal", "holes", "texts", "slopes"])
@pytest.mark.parametrize("threads", [1, 3])
def test_all_shapes_and_masks_give_the_attention_of_float64(
    attend: Attend, kind: str, threads: int
) -> None:
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        q, k, v = _inputs(rng, shape)
        mask = None if kind == "none" else masks(rng, shape[0], shape[1], kind)
        scale = shape[4] ** -0.5
        out = attend(q, k, v, mask, scale, threads)
        expected = attention(q, k, v, mask, scale)
        # bfloat16 has 8 bits; the errors of single values reach some of its steps.
        assert np.abs(out - expected).max() < 0.05, shape
        assert np.linalg.norm(out - expected) <= 0.008 * np.linalg.norm(expected), shape


def test_a_row_that_sees_no_key_is_zero(attend: Attend) -> None:
    q, k, v = _inputs(np.random.default_rng(1), (40, 100, 2, 1, 64, 64))
    mask = np.zeros((40, 100), np.float16)
    mask[[0, 7, 39]] = -np.inf
    out = attend(q, k, v, mask, 0.125)
    assert not out[[0, 7, 39]].any()
    assert out[1].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_lies_under_hidden_keys_changes_nothing(attend: Attend, value: float) -> None:
    rng = np.random.default_rng(2)
    q, k, v = _inputs(rng, (70, 900, 4, 2, 64, 64))
    mask = masks(rng, 70, 900, "causal")
    hidden = [3, 64, 130, 131, 511, 512, 899]
    mask[:, hidden] = -np.inf
    clean = attend(q, k, v, mask, 0.125)
    for array in (k, v):
        array[:, hidden] = value
    assert np.array_equal(attend(q, k, v, mask, 0.125), clean)


def test_an_infinite_value_shows_in_the_rows_that_see_it_alone(attend: Attend) -> None:
    rng = np.random.default_rng(3)
    q, k, v = _inputs(rng, (60, 60, 2, 1, 64, 64))
    mask = masks(rng, 60, 60, "causal")
    clean = attend(q, k, v, mask, 0.125)
    v[0, 40, 5] = np.inf
    out = attend(q, k, v, mask, 0.125)
    assert np.isposinf(out[40:, :, 5]).all()
    rest = np.delete(out, 5, axis=2)
    assert np.allclose(rest, np.delete(clean, 5, axis=2), atol=0.05)
    assert np.array_equal(out[:40], clean[:40])


@pytest.mark.parametrize("name", ["q", "k"])
def test_a_nan_in_a_query_or_a_key_shows_in_the_rows_that_see_it_alone(
    attend: Attend, name: str
) -> None:
    rng = np.random.default_rng(4)
    q, k, v = _inputs(rng, (60, 60, 2, 1, 64, 64))
    mask = masks(rng, 60, 60, "causal")
    clean = attend(q, k, v, mask, 0.125)
    if name == "q":
        q[:, 30, 9] = np.nan
        rows = [30]
    else:
        k[0, 30, 9] = np.nan
        rows = list(range(30, 60))
    out = attend(q, k, v, mask, 0.125)
    assert np.isnan(out[rows]).all()
    assert np.array_equal(np.delete(out, rows, axis=0), np.delete(clean, rows, axis=0))


def test_scores_that_are_all_minus_infinity_are_not_taken_for_hidden_keys(
    attend: Attend,
) -> None:
    q, k, v = _inputs(np.random.default_rng(5), (2, 3, 1, 1, 64, 64))
    q[:], k[:] = 1, 1
    k[:, :, 0] = -np.inf
    mask = np.zeros((2, 3), np.float16)
    mask[1] = -np.inf
    out = attend(q, k, v, mask, 0.125)
    assert np.isnan(out[0]).all()
    assert not out[1].any()


def test_scores_that_rise_along_a_long_text_lose_no_weight(attend: Attend) -> None:
    """Each block of keys then brings a new highest score."""
    q, k, v = _inputs(np.random.default_rng(6), (3, 2500, 1, 1, 32, 64))
    q[:] = 1
    k[:] = (np.arange(2500) // 10 / 8)[None, :, None]  # which bfloat16 holds exactly
    out = attend(q, k, v, None, 0.25)
    assert np.abs(out - attention(q, k, v, None, 0.25)).max() < 0.05


@pytest.mark.parametrize("shape", [(33, 70, 4, 2, 64, 64), (70, 600, 2, 1, 96, 48)])
def test_a_result_in_bfloat16_is_that_in_float32_rounded(
    attend: Attend, shape: tuple[int, ...]
) -> None:
    if attend.keywords["name"] == "avx2":
        pytest.skip("these kernels write no bfloat16")
    rng = np.random.default_rng(7)
    q, k, v = _inputs(rng, shape)
    mask = masks(rng, shape[0], shape[1], "causal")
    for threads in (1, 3):
        rounded = attend(q, k, v, mask, 0.125, threads=threads, dtype=np.uint16)
        assert np.array_equal(rounded, to_bf16(attend(q, k, v, mask, 0.125)))
