"""The results of a benchmark, and a recommendation."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jlocal.bench.machine import Machine

# Tokens in a text, prompt and special tokens included.
LENGTHS = {"short": 32, "middle": 256, "long": 2048}
# Files with at least this minimum cosine to the first file's vectors may replace it.
MIN_COSINE = 0.999


@dataclass(frozen=True)
class Speed:
    """The time to embed texts of one length.

    Attributes:
        length: maximum number of tokens in a text, prompt and special tokens included.
        texts: number of texts in a round, all different.
        tokens: number of tokens in a round.
        rounds: seconds of each round; at least one, after a warm-up round.

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
class Measurement:
    """The measurement of one file.

    Attributes:
        name: shortest distinct name of the file.
        speeds: the speed for each key of `LENGTHS`.
        cosine: minimum cosine of a text's vector with the first file's; None if not comparable.
        no_cosine: why `cosine` is None.
        bytes: size of the file.
        load_seconds: time to load an `Embedder`; a file that was read recently is in memory.
        first_vector_seconds: time from the file to the vector of one short text.
        peak_bytes: peak memory of the process, including mapped weights but not a GPU's memory;
            None if the system does not report it.
        compute_type: `compute_type` of the `Embedder`.
        notes: warnings of the load.

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
class Failure:
    """A file that could not be measured, and why."""

    file: Path
    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The result of `bench`; `machine` is None if no file was measured."""

    machine: Machine | None
    models: Sequence[Measurement | Failure]

    @property
    def measured(self) -> list[Measurement]:
        """The measurements, in the order of the files."""
        return [model for model in self.models if isinstance(model, Measurement)]

    @property
    def failed(self) -> list[Failure]:
        """The failures, in the order of the files."""
        return [model for model in self.models if isinstance(model, Failure)]

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "machine": self.machine and dataclasses.asdict(self.machine),
            "models": [_as_dict(model) for model in self.models],
            "recommendation": recommend(self.measured) if self.measured else None,
        }


def _as_dict(model: Measurement | Failure) -> dict[str, object]:
    facts = dataclasses.asdict(model) | {"file": str(model.file)}
    if isinstance(model, Measurement):
        for name, speed in model.speeds.items():
            medians = {"seconds": speed.seconds, "tokens_per_second": speed.tokens_per_second}
            facts["speeds"][name] |= medians
    return facts


def recommend(measured: Sequence[Measurement]) -> str:
    """Recommend a file for texts of middle length on this machine, in a sentence or two."""
    first = measured[0]
    length = f"{first.speeds['middle'].length:,} tokens"
    if len(measured) == 1:
        return (
            f"1,000 texts of {length} take about {_time_per_thousand(first)} here{_memory(first)}."
        )
    alike = [model for model in measured if model is first or (model.cosine or 0) >= MIN_COSINE]
    scope = ""
    if all(model.cosine is None for model in measured):
        alike = list(measured)
        scope = "Vectors of different models do not compare, but speed does: "
    elif len(alike) < len(measured):
        scope = (
            f"Among files whose vectors have a cosine of {MIN_COSINE} or more with {first.name}'s, "
        )
    fastest = max(alike, key=_speed)
    smallest = min(alike, key=lambda model: model.peak_bytes or model.bytes)
    other = smallest if fastest is first else fastest
    return (
        f"{scope}{fastest.name} is the fastest here at texts of {length}: "
        f"1,000 take about {_time_per_thousand(fastest)}{_memory(fastest)}."
        + ("" if other is first else f" {_compared(other, first)}")
    )


def _compared(other: Measurement, first: Measurement) -> str:
    parts = [f"{_speed(other) / _speed(first):.2f} times its speed"]
    if other.peak_bytes and first.peak_bytes:
        parts.append(f"{other.peak_bytes / first.peak_bytes:.2f} times its memory")
    if other.cosine is not None:
        parts.append(f"a least cosine of {other.cosine:.5f}")
    return f"Beside {first.name}, {other.name} has {', '.join(parts[:-1])} and {parts[-1]}."


def _speed(model: Measurement) -> float:
    return model.speeds["middle"].tokens_per_second


def _time_per_thousand(model: Measurement) -> str:
    middle = model.speeds["middle"]
    seconds = 1000 * middle.seconds / middle.texts
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _memory(model: Measurement) -> str:
    return f", with {model.peak_bytes / 1e6:,.0f} MB of memory" if model.peak_bytes else ""
