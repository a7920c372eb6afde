"""The target of a search for a mix, and its options."""

from __future__ import annotations

from dataclasses import dataclass

from jlocal.errors import ArgumentError
from jlocal_convert.quantization.importance import ImportanceArguments, ImportanceOptions


class MixtureArguments(ImportanceArguments, total=False):
    """The rarer keyword arguments of `quantize_mixture`."""

    allow_requantize: bool


@dataclass(frozen=True)
class MixtureOptions(ImportanceOptions):
    """Where an importance matrix comes from, and whether a Q8_0 file is taken as the source."""

    allow_requantize: bool = False


@dataclass(frozen=True)
class Target:
    """A size in bytes or a mean cosine."""

    size: int | None
    cosine: float | None

    def __post_init__(self) -> None:
        if (self.size is None) == (self.cosine is None):
            raise ArgumentError("give one target, a size or a cosine")
        if self.size is not None and self.size < 1:
            raise ArgumentError(
                f"the target size is {self.size:,} bytes; it is at least 1", argument="size"
            )
        if self.cosine is not None and not 0 < self.cosine < 1:
            raise ArgumentError(
                f"the target cosine is {self.cosine:g}; it lies between 0 and 1", argument="cosine"
            )
