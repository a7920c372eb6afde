"""The default length of chunks for each model."""

from __future__ import annotations

from dataclasses import dataclass

from jlocal.models.profile import Profile

_MAX_TOKENS, _MIN_TOKENS = 512, 64


@dataclass(frozen=True)
class Chunking:
    """How a text is split into chunks.

    Attributes:
        tokens: maximum number of tokens in a chunk, prompt included.
        overlap: number of tokens that consecutive chunks share.
        headings: whether the headings above a chunk are embedded with it.

    """

    tokens: int
    overlap: int
    headings: bool


# By the model's name in the header; measured with benchmarks/chunking.py, see docs/inputs.md.
_MEASURED = {"Jlocal Starter Retrieval": Chunking(128, 0, headings=True)}


def default_chunking(profile: Profile) -> Chunking:
    """Return the chunking for a model.

    The published models get 512 tokens: they were trained for long texts, and a person reads 512
    tokens at a glance. An unknown model gets half of its context, up to 512 tokens: models with a
    context of 512 were mostly trained on shorter passages.
    """
    if measured := _MEASURED.get(profile.name):
        return measured
    tokens = min(_MAX_TOKENS, profile.context // 2)
    return Chunking(max(tokens, min(profile.context, _MIN_TOKENS)), 0, headings=True)
