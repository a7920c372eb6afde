"""Measuring model files one after the other, each in its own process.

In one process, the memory of one file could not be distinguished from another's, and the state
that a file leaves behind would speed up or slow down the next.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jlocal import child
from jlocal.arguments import of_keywords
from jlocal.bench.job import Answer, Job
from jlocal.bench.machine import Machine
from jlocal.bench.report import Failure, Measurement, Report
from jlocal.embed.options import ComputeOptions
from jlocal.embed.similarity import pairwise_similarity
from jlocal.errors import ModelError
from jlocal.llama.choice import ComputeType, computes
from jlocal.models.names import resolve
from jlocal.models.profile import Profile, read_profile
from jlocal.terms import Argument

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.options import ComputeArguments

# The stored weights come first, because the others are compared with them.
_EVERY_TYPE: tuple[ComputeType, ...] = ("stored", "bfloat16", "int8")

OnStep = Callable[[str, str], None]


def bench(
    models: Sequence[str | Path],
    *,
    seconds: float = 90.0,
    every_type: bool = False,
    on_step: OnStep | None = None,
    **compute: Unpack[ComputeArguments],
) -> Report:
    """Measure model files, one after the other.

    Args:
        models: paths of GGUF files; vectors are compared with those of the first file.
        seconds: time limit for all files together. It is exceeded if one round at each length,
            after a warm-up round, takes longer.
        every_type: measure each file in every compute type that this machine has for it, in place
            of `compute_type`; the name of a measurement then has the type after that of the file.
        on_step: called with the name of a file and its next step.
        **compute: of `Embedder`: threads, gpu_layers, compute_type, capture.

    Returns:
        The report. A file that cannot be loaded or computed is a `Failure` in it, and does not
        stop the other files.

    Raises:
        ModelError: a file is missing or is not a usable GGUF file; this is checked first.

    """
    options = of_keywords(ComputeOptions, "bench", compute)
    profiles = [read_profile(resolve(model)) for model in models]
    names = _names([profile.path for profile in profiles])
    types = _EVERY_TYPE if every_type else (options.compute_type,)
    deadline = time.perf_counter() + seconds
    machine: Machine | None = None
    first: _Vectors | None = None
    results: list[Measurement | Failure] = []
    runs = [
        (profile, name, kind)
        for profile, name in zip(profiles, names, strict=True)
        for kind in types
    ]
    for number, (profile, name, kind) in enumerate(runs):
        if every_type and not _is_possible(kind, machine):
            continue
        shown = f"{name} {kind}" if every_type else name
        left = (deadline - time.perf_counter()) / (len(runs) - number)
        job = Job(
            str(profile.path), shown, left, replace(options, compute_type=kind), len(runs) > 1
        )
        try:
            answer = _measure_in_child(job, on_step)
        except ModelError as error:
            results.append(Failure(profile.path, shown, error.message))
            continue
        machine = machine or answer.machine
        vectors = _Vectors(profile, answer.tokens, answer.vectors)
        measurement = answer.measurement
        if first:
            cosine, no_cosine = _cosine(vectors, first)
            measurement = replace(measurement, cosine=cosine, no_cosine=no_cosine)
        first = first or vectors
        results.append(measurement)
    return Report(machine, results)


def _is_possible(compute_type: ComputeType, machine: Machine | None) -> bool:
    """Tell whether a machine has a compute type, as far as an answer has told of it."""
    return compute_type == "stored" or bool(machine and computes(compute_type, machine.kernels))


def _names(files: Sequence[Path]) -> list[str]:
    stems = [file.stem for file in files]
    unique = len(set(stems)) == len(set(files))
    return stems if unique else [str(file.with_suffix("")) for file in files]


@dataclass(frozen=True)
class _Vectors:
    """The tokens and vectors of the compared texts, from one file."""

    profile: Profile
    tokens: Sequence[Sequence[int]]
    vectors: Sequence[Sequence[float]]


def _cosine(other: _Vectors, first: _Vectors) -> tuple[float | None, str | None]:
    """Return the minimum cosine over the texts, or None and why the files are not comparable."""
    for field in ("architecture", "dimensions", "task"):
        value, expected = getattr(other.profile, field), getattr(first.profile, field)
        if value != expected:
            return None, f"{field}: {value}, not {expected} as in the first"
    if other.tokens != first.tokens:
        return None, "the same texts have other token ids than in the first"
    cosines = pairwise_similarity(np.array(other.vectors), np.array(first.vectors))
    return min(1.0, float(cosines.min())), None


def _measure_in_child(job: Job, on_step: OnStep | None) -> Answer:
    """Measure in a child process, which never outlives this call."""
    command = child.python("jlocal.bench.measure", job.to_json())
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                message = json.loads(line)
                if "answer" in message:
                    return Answer.of(message["answer"])
                if "error" in message:
                    raise ModelError(
                        message["error"], *(Argument(**term) for term in message["terms"])
                    )
                if on_step:
                    on_step(job.name, message["step"])
            status = process.wait()
        finally:
            process.kill()
        stderr.seek(0)
        raise ModelError(_exit_message(status, stderr.read().decode(errors="replace")))


def _exit_message(status: int, stderr: str) -> str:
    """Explain how a process ended without an answer."""
    ended = f"with status {status}"
    if status < 0:
        ended = f"by {signal.Signals(-status).name}"
        if -status == getattr(signal, "SIGKILL", None):
            ended += ", as when memory runs out"
    lines = stderr.strip().splitlines()
    # Python prints the error last; llama.cpp prints it first, then its source line.
    reason = f": {lines[0 if status < 0 else -1]}" if lines else ""
    return f"the process that measured it was ended {ended}{reason}"
