"""The messages between `bench` and the child process that measures a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jlocal.bench.machine import Machine
from jlocal.bench.report import Measurement, Speed
from jlocal.embed.options import ComputeOptions


@dataclass(frozen=True)
class Job:
    """The file to measure.

    Attributes:
        name: shortest distinct name of the file.
        seconds: time limit, from the start of the load.
        compare: whether the answer shall hold tokens and vectors to compare.

    """

    file: str
    name: str
    seconds: float
    options: ComputeOptions
    compare: bool

    def to_json(self) -> str:
        """Return the job as an argument of the child process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Parse the argument of the child process."""
        values = json.loads(text)
        return cls(**values | {"options": ComputeOptions(**values["options"])})


@dataclass(frozen=True)
class Answer:
    """The measurements of one file.

    Attributes:
        measurement: the measurement, not yet compared with the first file's.
        tokens: token ids of the compared texts.
        vectors: vectors of the compared texts, (texts, dimensions).

    """

    measurement: Measurement
    tokens: Sequence[Sequence[int]]
    vectors: Sequence[Sequence[float]]
    machine: Machine

    def as_dict(self) -> dict[str, object]:
        """Return the answer as JSON values."""
        values = asdict(self)
        values["measurement"]["file"] = str(self.measurement.file)
        return values

    @classmethod
    def of(cls, values: dict[str, Any]) -> Answer:
        """Restore an answer from its JSON values."""
        measurement = values["measurement"]
        speeds = {name: Speed(**speed) for name, speed in measurement["speeds"].items()}
        file = Path(measurement["file"])
        return cls(
            measurement=Measurement(**measurement | {"file": file, "speeds": speeds}),
            tokens=values["tokens"],
            vectors=values["vectors"],
            machine=Machine(**values["machine"]),
        )
