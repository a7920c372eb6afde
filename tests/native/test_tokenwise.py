"""Operations that treat each token alone, and runs of them, beside ggml's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from support.graphs import Graph
from support.kernels import Kernels, normal

# Builds a graph from random numbers, and returns the tensors that are compared.
Build = Callable[[Graph, np.random.Generator], list[int]]

TOKENS = [1, 2, 7, 33, 300]


def runs_of(kernels: Kernels, build: Build, threads: int = 2, tolerance: float = 2e-6) -> int:
    """Compare a graph's results with ggml's, and return the number of runs that it took."""
    with Graph() as expected, Graph() as graph:
        right = build(expected, np.random.default_rng(0))
        tensors = build(graph, np.random.default_rng(0))
        expected.compute()
        count = kernels.library.jlocal_kernels_test_tokenwise(graph.pointer, threads)
        assert count > 0
        for ours, theirs in zip(tensors, right, strict=True):
            here, there = graph.values(ours), expected.values(theirs)
            np.testing.assert_allclose(here, there, rtol=tolerance, atol=tolerance)
    return int(count)


@pytest.mark.parametrize("tokens", TOKENS)
def test_the_end_of_a_layer_is_one_run(kernels: Kernels, tokens: int) -> None:
    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        x, residual = (graph.tensor(normal(rng, (tokens, 192))) for _ in "xr")
        total = graph.add("add", x, residual)
        norm = graph.add("rms_norm", total, 1e-6)
        factor = graph.tensor(normal(rng, (1, 192)))
        return [total, graph.add("mul", norm, factor)]

    for threads in (1, 3):
        assert runs_of(kernels, build, threads) == 1


def test_a_norm_and_its_factor_in_one_place_are_one_pass(kernels: Kernels) -> None:
    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        x = graph.tensor(normal(rng, (90, 1024)))
        norm = graph.add("rms_norm", x, 1e-6)
        return [x, graph.add("mul_inplace", norm, graph.tensor(normal(rng, (1, 1024))))]

    assert runs_of(kernels, build) == 1


@pytest.mark.parametrize("tokens", TOKENS)
def test_heads_are_normed_and_rotated_in_one_run(kernels: Kernels, tokens: int) -> None:
    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        positions = graph.tensor(rng.integers(0, 32_768, tokens).astype(np.int32))
        x = graph.tensor(normal(rng, (tokens, 5, 64)))
        norm = graph.add("rms_norm", x, 1e-6)
        scaled = graph.add("mul", norm, graph.tensor(normal(rng, (1, 64))))
        return [graph.rotate(scaled, positions, 64)]

    for threads in (1, 3):
        assert runs_of(kernels, build, threads) == 1


def test_rotations_differ_with_their_positions(kernels: Kernels) -> None:
    """Their cosines are kept from one to the next."""

    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        first, second = (graph.tensor(np.arange(9, dtype=np.int32) * n) for n in (1, 100))
        x = graph.tensor(normal(rng, (9, 2, 32)))
        wide = graph.tensor(normal(rng, (9, 2, 64)))
        return [
            graph.rotate(x, first, 32),
            graph.rotate(x, second, 32),
            graph.rotate(wide, second, 64),
            graph.rotate(x, first, 32),
        ]

    runs_of(kernels, build)


@pytest.mark.parametrize("tokens", TOKENS)
def test_the_gate_of_a_feed_forward(kernels: Kernels, tokens: int) -> None:
    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        a, b = normal(rng, (tokens, 96)), normal(rng, (tokens, 96))
        a[0, :8] = (-1e30, -200, -90, -87, -20, 50, 90, 1e30)
        return [graph.add("swiglu_split", graph.tensor(a), graph.tensor(b))]

    assert runs_of(kernels, build) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so_in_its_own_token(kernels: Kernels, value: float) -> None:
    x, y = normal(np.random.default_rng(1), (6, 64)), normal(np.random.default_rng(2), (6, 64))
    x[2, 17] = value
    for name in ("add", "mul", "swiglu_split"):
        with Graph() as graph:
            made = graph.add(name, graph.tensor(x), graph.tensor(y))
            norm = graph.add("rms_norm", made, 1e-6)
            assert kernels.library.jlocal_kernels_test_tokenwise(graph.pointer, 1) == 1
            out = graph.values(norm).reshape(6, 64)
            # The gate of minus infinity is zero or NaN in ggml too, by the size of its vectors.
            if name != "swiglu_split" or value != -np.inf:
                assert np.isnan(out[2]).any()
            assert np.isfinite(np.delete(out, 2, axis=0)).all()


def test_rows_go_to_their_places_in_the_cache(kernels: Kernels) -> None:
    rng = np.random.default_rng(3)
    rows, places = normal(rng, (40, 64)), rng.permutation(50)[:40].astype(np.int64)
    with Graph() as graph:
        cache = graph.tensor(np.zeros((50, 64), np.float16))
        graph.add("set_rows", cache, graph.tensor(rows), graph.tensor(places))
        assert kernels.library.jlocal_kernels_test_tokenwise(graph.pointer, 2) == 1
        found = graph.values(cache, np.float16).reshape(50, 64)
    assert np.array_equal(found[places], rows.astype(np.float16))
    assert not np.delete(found, places, axis=0).any()


@pytest.mark.parametrize("place", [-1, 50])
def test_a_row_outside_the_cache_is_an_error(kernels: Kernels, place: int) -> None:
    with Graph() as graph:
        cache = graph.tensor(np.zeros((50, 64), np.float16))
        rows = graph.tensor(np.ones((1, 64), np.float32))
        graph.add("set_rows", cache, rows, graph.tensor(np.array([place], np.int64)))
        assert kernels.library.jlocal_kernels_test_tokenwise(graph.pointer, 1) == -1
        assert not graph.values(cache, np.float16).any()


def test_an_operation_waits_for_another_whose_memory_it_takes(kernels: Kernels) -> None:
    """A token's result may lie where another token's input still lay."""

    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        memory = graph.tensor(normal(rng, (1, 64 * 400)))
        a = graph.view(memory, 64, 300, 0)
        moved = graph.view(memory, 64, 300, 64 * 100)
        other = graph.tensor(normal(rng, (300, 64)))
        total = graph.add("add", a, other)
        return [total, graph.add("add_inplace", moved, other), memory]

    assert runs_of(kernels, build, threads=3) == 2


def test_rows_of_other_lengths_are_another_run(kernels: Kernels) -> None:
    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        memory = graph.tensor(normal(rng, (1, 32 * 48 * 5)))
        heads, tokens = graph.view(memory, 32, 48 * 5, 0), graph.view(memory, 160, 48, 0)
        norm = graph.add("rms_norm_inplace", heads, 1e-6)
        total = graph.add("add", tokens, graph.tensor(normal(rng, (48, 160))))
        odd = graph.add("rms_norm", graph.tensor(normal(rng, (49, 32))), 1e-6)
        return [norm, total, odd]

    # 240 heads are 48 tokens; 49 rows are not.
    assert runs_of(kernels, build, threads=3) == 2


def test_every_operation_of_a_run_has_whole_rows_for_each_token(kernels: Kernels) -> None:
    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        rows = (1200, 600, 400)  # 600 rows are not those of 400 tokens
        return [
            graph.add("rms_norm", graph.tensor(normal(rng, (count, 64))), 1e-6) for count in rows
        ]

    assert runs_of(kernels, build) == 2


def test_a_factor_that_the_run_computes_is_awaited(kernels: Kernels) -> None:
    def build(graph: Graph, rng: np.random.Generator) -> list[int]:
        one = graph.add("add", *(graph.tensor(normal(rng, (1, 64))) for _ in "ab"))
        return [graph.add("mul", graph.tensor(normal(rng, (200, 64))), one)]

    runs_of(kernels, build, threads=3)


def test_other_operations_are_left_to_ggml(kernels: Kernels) -> None:
    rng = np.random.default_rng(4)
    x, narrow = normal(rng, (6, 64)), normal(rng, (6, 24))
    for name, values in (("geglu_split", x), ("add", narrow)):
        with Graph() as graph:
            graph.add(name, graph.tensor(values), graph.tensor(values))
            assert kernels.library.jlocal_kernels_test_tokenwise(graph.pointer, 1) == -1
