"""Numpy on embeddings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jlocal import ArgumentError, Embedder
from jlocal.embed.similarity import pairwise_similarity, similarity
from jlocal.vectors import finish, normalize, quantize

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((50, 64)).astype(np.float32)


def test_truncation_comes_before_normalisation() -> None:
    out = finish(VECTORS, 16, "float32")
    expected = VECTORS[:, :16] / np.linalg.norm(VECTORS[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert out.dtype == np.float32
    assert out.flags.c_contiguous


@pytest.mark.filterwarnings("error")
def test_the_precision_of_unit_vectors_is_that_of_the_vectors() -> None:
    doubles = VECTORS.astype(np.float64)
    units = normalize(doubles)
    assert units.dtype == np.float64
    assert (units == doubles / np.linalg.norm(doubles, axis=1, keepdims=True)).all()
    assert normalize(VECTORS).dtype == np.float32
    doubles[0], doubles[1], doubles[2] = 0, np.nan, np.inf
    units = normalize(doubles)
    assert not units[0].any()
    assert not np.isfinite(units[1:3]).all(axis=1).any()
    assert (units[3:] == normalize(doubles[3:])).all()


@pytest.mark.parametrize(
    ("precision", "dtype", "width", "least"),
    [
        ("float32", np.float32, 64, 0.999999),
        ("float16", np.float16, 64, 0.99999),
        ("int8", np.int8, 64, 0.9999),
    ],
)
def test_precision_keeps_directions(precision: str, dtype: type, width: int, least: float) -> None:
    out = finish(VECTORS, None, precision)
    assert (out.dtype, out.shape) == (np.dtype(dtype), (50, width))
    assert pairwise_similarity(out, VECTORS).min() > least


def test_uint8_is_int8_plus_128() -> None:
    signed = finish(VECTORS, None, "int8").astype(int)
    assert (finish(VECTORS, None, "uint8").astype(int) == signed + 128).all()
    assert np.abs(signed).max(axis=1).tolist() == [127] * 50


def test_binary_is_sign_bits() -> None:
    packed = finish(VECTORS, None, "ubinary")
    assert packed.shape == (50, 8)
    assert (np.unpackbits(packed, axis=1).astype(bool) == (VECTORS > 0)).all()
    assert (finish(VECTORS, None, "binary").astype(int) == packed.astype(int) - 128).all()


def test_bad_precision() -> None:
    with pytest.raises(ValueError, match="float32"):
        quantize(VECTORS, "int4")
    with pytest.raises(ValueError, match="multiple of 8"):
        quantize(VECTORS[:, :10], "binary")


def test_zero_rows_and_no_rows() -> None:
    zeros = np.zeros((2, 8), np.float32)
    for precision in ("float32", "float16", "int8", "ubinary"):
        assert np.isfinite(finish(zeros, None, precision)).all()
        assert len(finish(zeros[:0], None, precision)) == 0


def test_similarity_shapes() -> None:
    assert similarity(VECTORS[0], VECTORS).shape == (1, 50)
    assert np.allclose(np.diag(similarity(VECTORS, VECTORS)), 1, atol=1e-6)
    assert pairwise_similarity(VECTORS, VECTORS).shape == (50,)


@pytest.mark.slow
def test_bits_have_no_cosine(other_model_file: Path) -> None:
    """Eight bits share a byte, so that their cosine would be a plausible wrong number."""
    with Embedder(other_model_file) as model:
        full = model.profile.dimensions
        assert full == 64
        whole, small = model.encode(["a", "b"]), model.encode(["a", "b"], precision="int8")
        np.testing.assert_allclose(model.similarity(small, whole), whole @ whole.T, atol=0.01)
        for precision in ("binary", "ubinary", "uint8"):
            vectors = model.encode(["a", "b"], precision=precision)
            for similarity in (model.similarity, model.similarity_pairwise):
                for form in (vectors, vectors.astype(int), vectors.tolist()):
                    with pytest.raises(ArgumentError, match="Hamming"):
                        similarity(form, form)
        np.testing.assert_allclose(
            model.similarity(small.tolist(), whole), whole @ whole.T, atol=0.01
        )
        short = model.encode(["a", "b"], truncate_dim=32, precision="int8")
        assert model.similarity(short, short)[0, 0] == pytest.approx(1)


@pytest.mark.slow
def test_bits_are_refused_even_where_int8_vectors_could_be_as_short(other_model_file: Path) -> None:
    with Embedder(other_model_file) as model:
        model._model.profile = dataclasses.replace(model.profile, matryoshka=(8, 64))
        bits = model.encode(["a"], precision="binary")
        with pytest.raises(ArgumentError, match=r"astype\('float32'\)"):
            model.similarity(bits, bits)
        coarse = model.encode(["a"], truncate_dim=8, precision="int8").astype("float32")
        assert model.similarity(coarse, coarse).item() == pytest.approx(1)
        model.truncate_dim = 8
        short = model.encode(["a"], precision="int8")
        assert model.similarity(short, short).item() == pytest.approx(1)


def test_vectors_that_cannot_be_compared() -> None:
    with pytest.raises(ArgumentError, match="64 and of 32"):
        similarity(VECTORS, VECTORS[:, :32])
    with pytest.raises(ArgumentError, match="paired"):
        pairwise_similarity(VECTORS, VECTORS[:3])
    for wrong in (VECTORS > 0, VECTORS.astype(str), VECTORS[None], VECTORS.astype(complex)):
        with pytest.raises(ArgumentError, match=r"array|vectors are compared, not texts"):
            similarity(wrong, wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_has_no_similarity(value: float) -> None:
    vectors = VECTORS.copy()
    vectors[3, 5] = value
    for function in (similarity, pairwise_similarity):
        with pytest.raises(ArgumentError, match="vector 3 is not finite"):
            function(VECTORS, vectors)
