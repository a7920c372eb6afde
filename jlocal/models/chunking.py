"""How long texts are cut for each model, where nobody says."""

from __future__ import annotations

from dataclasses import dataclass

from jlocal.models.profile import Profile

_LONGEST, _SHORTEST = 512, 64


@dataclass(frozen=True)
class Chunking:
    """How a text becomes the passages that are found.

    Attributes:
        tokens: the most in a chunk, prompt included.
        overlap: how many tokens of a chunk's end come again in the next.
        headings: whether the headings above a chunk are embedded with it.

    """

    tokens: int
    overlap: int
    headings: bool


# By the name in the header; measured with benchmarks/chunking.py, see docs/inputs.md.
_MEASURED = {"Jlocal Starter Retrieval": Chunking(128, 0, headings=True)}


def chunking_of(profile: Profile) -> Chunking:
    """Choose how texts are cut for a model.

    The published models take 512 tokens: they were trained for long texts, and a person reads so
    much at a glance. An unknown model gets half of its context, up to as much: models with a
    context of 512 were mostly trained on shorter passages.
    """
    if measured := _MEASURED.get(profile.name):
        return measured
    most = min(_LONGEST, profile.context // 2)
    return Chunking(max(most, min(profile.context, _SHORTEST)), 0, headings=True)
