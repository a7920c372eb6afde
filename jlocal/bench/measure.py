"""The child process of `jlocal.bench.run`, which measures one model file."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from jlocal.bench.job import Answer, Job
from jlocal.bench.machine import this_machine
from jlocal.bench.report import LENGTHS, Measurement, Speed
from jlocal.bench.texts import SENTENCES, make_texts, tokens_of
from jlocal.embed.embedder import Embedder
from jlocal.errors import DeviceWarning, JlocalError, TokenizerWarning
from jlocal.llama.model import resolve
from jlocal.llama.trial import try_once
from jlocal.memory import peak_memory
from jlocal.models.profile import read_profile
from jlocal.terms import Argument

_ROUNDS = 5
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
        answer = _measure(Job.from_json(sys.argv[1]), lambda step: say(step=step))
        say(answer=answer.as_dict())
    except JlocalError as error:
        terms = [vars(term) for term in error.message.terms if isinstance(term, Argument)]
        say(error=str(error), terms=terms)


def _measure(job: Job, on_step: Callable[[str], None]) -> Answer:
    file = Path(job.file)
    # Only the first load of a file tries it in another process.
    profile, options = read_profile(file), job.options
    _, own = resolve(profile.header, options.compute_type, options.gpu_layers)
    try_once(profile, own)
    on_step("loading")
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as notes:
        for category in (DeviceWarning, TokenizerWarning):
            warnings.simplefilter("always", category)
        model = Embedder(file, **vars(job.options))
    loaded = time.perf_counter()
    with model:
        model.encode(SENTENCES[0])
        first_vector = time.perf_counter()
        texts: list[str] = []
        if job.compare:
            on_step("vectors to compare")
            texts = [*SENTENCES, *make_texts(model, LENGTHS["middle"], 2)]
        vectors = model.encode(texts).tolist()
        speeds = {}
        for number, (name, length) in enumerate(LENGTHS.items()):
            left = start + job.seconds - time.perf_counter()
            speeds[name] = _measure_speed(model, length, left / (len(LENGTHS) - number), on_step)
        measurement = Measurement(
            file=file,
            name=job.name,
            speeds=speeds,
            cosine=None,
            no_cosine="it is the first",
            bytes=file.stat().st_size,
            load_seconds=loaded - start,
            first_vector_seconds=first_vector - start,
            peak_bytes=peak_memory(),
            compute_type=model.compute_type,
            notes=[str(note.message) for note in notes],
        )
        tokens = [tokens_of(model, text).tolist() for text in texts]
        return Answer(measurement, tokens, vectors, this_machine(job.options))


def _measure_speed(
    model: Embedder,
    length: int,
    seconds: float,
    on_step: Callable[[str], None],
    round_seconds: float = 1.0,
) -> Speed:
    """Embed texts of one length in rounds: at least one, and more while there is time."""
    deadline = time.perf_counter() + seconds
    length = min(length, model.max_seq_length)
    fewest = max(1, _MIN_TOKENS // length)
    on_step(f"{length:,} tokens, warming up")
    warm_up = _seconds(model, make_texts(model, length, fewest))
    count = fewest * min(round_seconds, seconds / (_ROUNDS + 1)) / warm_up
    texts = make_texts(model, length, min(max(fewest, int(count)), _MAX_TEXTS))
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
