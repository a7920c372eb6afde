"""The default size of chunks: measured for the starter, and fit for any model."""

from __future__ import annotations

import dataclasses

import pytest

from jlocal import Embedder
from jlocal.collection.chunking.chunks import check_size
from jlocal.models.chunking import default_chunking
from jlocal.models.profile import read_profile
from jlocal.models.starter import FILE


def test_the_starter_has_a_size_of_its_own() -> None:
    profile = read_profile(FILE)
    assert default_chunking(profile).tokens == 128
    other = dataclasses.replace(profile, name="another")
    assert default_chunking(other).tokens == 512


@pytest.mark.parametrize(("context", "tokens"), [(32768, 512), (512, 256), (100, 64), (40, 40)])
def test_half_of_a_short_context_is_taken(context: int, tokens: int) -> None:
    profile = dataclasses.replace(read_profile(FILE), name="another", context=context)
    assert default_chunking(profile).tokens == tokens


def test_defaults_can_be_cut() -> None:
    with Embedder(FILE) as model:
        chunking = default_chunking(model.profile)
        check_size(
            chunking.tokens,
            chunking.overlap,
            lambda text: len(model.tokenize(text, "Document: ")),
            model.max_seq_length,
        )
