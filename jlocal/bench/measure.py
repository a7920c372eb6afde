"""The child process of `jlocal.bench.run`, which measures one model file."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jlocal.bench.machine import this_machine
from jlocal.bench.report import LENGTHS, Speed
from jlocal.bench.texts import SENTENCES, make_texts, tokens_of
from jlocal.embed.embedder import Embedder
from jlocal.embed.options import ComputeOptions
from jlocal.errors import DeviceWarning, JlocalError, TokenizerWarning
from jlocal.llama.trial import try_once
from jlocal.memory import peak_memory
from jlocal.models.profile import read_profile

_ROUNDS = 5
_ROUND_SECONDS = 1.0
# A round has at least the tokens of one batch, and no more texts than can be made quickly.
_MIN_TOKENS = 512
_MAX_TEXTS = 1024


def _main() -> None:
    """Run the job in the first argument, and report in lines of JSON."""
    # The output of libraries must not mix with the report.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**message: object) -> None:
        print(json.dumps(message), file=channel, flush=True)

    try:
        say(answer=_measure(json.loads(sys.argv[1]), lambda step: say(step=step)))
    except JlocalError as error:
        say(error=str(error))


def _measure(job: dict[str, Any], on_step: Callable[[str], None]) -> dict[str, Any]:
    # Only the first load of a file tries it in another process.
    try_once(read_profile(job["file"]))
    on_step("loading")
    options = ComputeOptions(**job["options"])
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        for kind in (DeviceWarning, TokenizerWarning):
            warnings.simplefilter("always", kind)
        model = Embedder(job["file"], **vars(options))
    loaded = time.perf_counter()
    with model:
        model.encode(SENTENCES[0])
        first_vector = time.perf_counter()
        texts: list[str] = []
        if job["compare"]:
            on_step("vectors to compare")
            texts = [*SENTENCES, *make_texts(model, LENGTHS["middle"], 2)]
        vectors = model.encode(texts).tolist()
        speeds = {}
        for number, (name, length) in enumerate(LENGTHS.items()):
            left = start + job["seconds"] - time.perf_counter()
            speed = _measure_speed(model, length, left / (len(LENGTHS) - number), on_step)
            speeds[name] = dataclasses.asdict(speed)
        return {
            "figures": {
                "bytes": Path(job["file"]).stat().st_size,
                "load_seconds": loaded - start,
                "first_vector_seconds": first_vector - start,
                "peak_bytes": peak_memory(),
                "compute_type": model.compute_type,
                "notes": [str(warning.message) for warning in caught],
            },
            "speeds": speeds,
            "tokens": [tokens_of(model, text).tolist() for text in texts],
            "vectors": vectors,
            "machine": dataclasses.asdict(this_machine(options)),
        }


def _measure_speed(
    model: Embedder, length: int, seconds: float, on_step: Callable[[str], None]
) -> Speed:
    """Embed texts of one length in rounds: at least one, and more while there is time."""
    deadline = time.perf_counter() + seconds
    length = min(length, model.max_seq_length)
    fewest = max(1, _MIN_TOKENS // length)
    on_step(f"{length:,} tokens, warming up")
    warm_up = _seconds(model, make_texts(model, length, fewest))
    wanted = fewest * min(_ROUND_SECONDS, seconds / (_ROUNDS + 1)) / warm_up
    texts = make_texts(model, length, min(max(fewest, int(wanted)), _MAX_TEXTS))
    tokens = sum(len(tokens_of(model, text)) for text in texts)
    rounds: list[float] = []
    while not rounds or (
        len(rounds) < _ROUNDS and time.perf_counter() + statistics.median(rounds) < deadline
    ):
        on_step(f"{length:,} tokens, round {len(rounds) + 1}")
        rounds.append(_seconds(model, texts))
    return Speed(length, len(texts), tokens, tuple(rounds))


def _seconds(model: Embedder, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    model.encode(texts)
    return time.perf_counter() - start


if __name__ == "__main__":
    _main()
