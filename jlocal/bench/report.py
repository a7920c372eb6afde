"""What was measured, and which file to take."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jlocal.bench.machine import Machine

# Tokens in a text, prompt and special tokens included.
LENGTHS = {"short": 32, "middle": 256, "long": 2048}
# Files whose vectors are at least this near to the first file's may stand in for it.
SAME = 0.999


@dataclass(frozen=True)
class Speed:
    """How long texts of one length took to embed.

    Attributes:
        length: the most tokens in a text, prompt and special tokens included.
        texts: in one round, all different.
        tokens: in all texts of one round.
        rounds: seconds of each round; at least one, after one that warmed up.

    """

    length: int
    texts: int
    tokens: int
    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)

    @property
    def tokens_per_second(self) -> float:
        """Tokens of a round over its median seconds."""
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Measured:
    """What was measured of one file.

    Attributes:
        name: of the file, as short as tells it from the others.
        speeds: a key of `LENGTHS` to the speed at this length.
        cosine: the least cosine of a text's vector with the first file's; None without one.
        no_cosine: why there is none.
        bytes: size of the file.
        load_seconds: from the file to an `Embedder`; one that was read lately loads from memory.
        first_vector_seconds: from the file to the vector of one short text.
        peak_bytes: the most memory of the process, mapped weights included, a GPU's memory not;
            None where the system does not tell.
        compute_type: as of `Embedder`.
        notes: what was warned of while it was loaded.

    """

    file: Path
    name: str
    speeds: Mapping[str, Speed]
    cosine: float | None
    no_cosine: str | None
    bytes: int
    load_seconds: float
    first_vector_seconds: float
    peak_bytes: int | None
    compute_type: str
    notes: Sequence[str]


@dataclass(frozen=True)
class Failed:
    """A file that could not be measured, and why."""

    file: Path
    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The outcome of `bench`; `machine` is None where nothing was measured."""

    machine: Machine | None
    models: Sequence[Measured | Failed]

    @property
    def measured(self) -> list[Measured]:
        """Those that were measured, in their order."""
        return [model for model in self.models if isinstance(model, Measured)]

    @property
    def failed(self) -> list[Failed]:
        """Those that were not."""
        return [model for model in self.models if isinstance(model, Failed)]

    def as_dict(self) -> dict[str, Any]:
        """All figures, as values that JSON can hold."""
        return {
            "machine": self.machine and dataclasses.asdict(self.machine),
            "models": [_as_dict(model) for model in self.models],
            "recommendation": recommend(self.measured) if self.measured else None,
        }


def _as_dict(model: Measured | Failed) -> dict[str, Any]:
    facts = dataclasses.asdict(model) | {"file": str(model.file)}
    if isinstance(model, Measured):
        for name, speed in model.speeds.items():
            medians = {"seconds": speed.seconds, "tokens_per_second": speed.tokens_per_second}
            facts["speeds"][name] |= medians
    return facts


def recommend(measured: Sequence[Measured]) -> str:
    """Say in a sentence or two which file to take on this machine for texts of middle length."""
    first = measured[0]
    length = f"{first.speeds['middle'].length:,} tokens"
    if len(measured) == 1:
        return f"1,000 texts of {length} take about {_thousand(first)} here{_memory(first)}."
    alike = [model for model in measured if model is first or (model.cosine or 0) >= SAME]
    scope = ""
    if all(model.cosine is None for model in measured):
        alike = list(measured)
        scope = "Vectors of different models do not compare, but speed does: "
    elif len(alike) < len(measured):
        scope = f"Among files whose vectors have a cosine of {SAME} or more with {first.name}'s, "
    fastest = max(alike, key=_speed)
    smallest = min(alike, key=lambda model: model.peak_bytes or model.bytes)
    other = smallest if fastest is first else fastest
    return (
        f"{scope}{fastest.name} is the fastest here at texts of {length}: "
        f"1,000 take about {_thousand(fastest)}{_memory(fastest)}."
        + ("" if other is first else f" {_beside(other, first)}")
    )


def _beside(other: Measured, first: Measured) -> str:
    parts = [f"{_speed(other) / _speed(first):.2f} times its speed"]
    if other.peak_bytes and first.peak_bytes:
        parts.append(f"{other.peak_bytes / first.peak_bytes:.2f} times its memory")
    if other.cosine is not None:
        parts.append(f"a least cosine of {other.cosine:.5f}")
    return f"Beside {first.name}, {other.name} has {', '.join(parts[:-1])} and {parts[-1]}."


def _speed(model: Measured) -> float:
    return model.speeds["middle"].tokens_per_second


def _thousand(model: Measured) -> str:
    middle = model.speeds["middle"]
    seconds = 1000 * middle.seconds / middle.texts
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _memory(model: Measured) -> str:
    return f", with {model.peak_bytes / 1e6:,.0f} MB of memory" if model.peak_bytes else ""
