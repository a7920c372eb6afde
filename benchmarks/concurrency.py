"""The speed of concurrent single-text calls, compared with sequential calls.

python benchmarks/concurrency.py
python benchmarks/concurrency.py --model MODEL.gguf --threads 32 --rounds 50 --compute-threads 1

Rounds of both alternate. A round of threads embeds one text in each thread, all at once; a round of
single calls embeds the same texts in one thread, one after the other. A round lasts from the moment
that the first call begins until the last one has its vector; gathering the threads before that
takes about 2 ms, which are not jlocal's. The ratio is that of the two medians. The CPU time of all
threads is the better measure when other programs use the processor.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal import Embedder  # noqa: E402
from jlocal.vectors import Floats  # noqa: E402


def texts_of(model: Embedder, count: int, tokens: int) -> list[str]:
    """Make texts of at least `tokens` tokens each, without a prompt."""
    texts = []
    for number in range(count):
        text = f"{number}"
        while len(model.tokenize(text)) < tokens:
            text = f"word {text}"
        texts.append(text)
    return texts


@dataclass(frozen=True)
class Call:
    """One call of `encode`: its vector, and the seconds of the clock when it began and ended."""

    vector: Floats
    begin: float
    end: float


def timed(calls: Callable[[], list[Call]]) -> tuple[list[Floats], float, float]:
    """Return the vectors of a round, its seconds, and its seconds of CPU time."""
    cpu = time.process_time()
    done = calls()
    cpu = time.process_time() - cpu
    wall = max(call.end for call in done) - min(call.begin for call in done)
    return [call.vector for call in done], wall, cpu


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--threads", type=int, default=32, help="calling threads")
    parser.add_argument("--tokens", type=int, default=12, help="tokens of each text")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--compute-threads", type=int, help="threads of llama.cpp")
    arguments = parser.parse_args()
    sizes: list[int] = []
    with (
        Embedder(arguments.model, threads=arguments.compute_threads) as model,
        ThreadPoolExecutor(arguments.threads) as pool,
    ):
        texts = texts_of(model, arguments.threads, arguments.tokens)
        scheduler = model._model.runtime.scheduler
        scheduler.on_batch = lambda texts, _tokens, _seconds: sizes.append(texts)
        barrier = threading.Barrier(arguments.threads)

        def one(text: str) -> Call:
            begin = time.perf_counter()
            vector = model.encode(text, prompt="")
            return Call(vector, begin, time.perf_counter())

        def at_once(text: str) -> Call:
            barrier.wait()
            return one(text)

        def together() -> list[Call]:
            return list(pool.map(at_once, texts))

        def single() -> list[Call]:
            return [one(text) for text in texts]

        together(), single()
        seconds: dict[str, list[float]] = {"threads": [], "single": []}
        cpu: dict[str, list[float]] = {"threads": [], "single": []}
        batches, cosine = [], 1.0
        for _ in range(arguments.rounds):
            sizes.clear()
            shared, wall, used = timed(together)
            seconds["threads"].append(wall)
            cpu["threads"].append(used)
            batches.append(len(sizes))
            alone, wall, used = timed(single)
            seconds["single"].append(wall)
            cpu["single"].append(used)
            cosine = min(cosine, float((np.stack(shared) * np.stack(alone)).sum(axis=1).min()))
        print(
            f"{model!r}, {model.compute_type}, {arguments.threads} texts, {arguments.rounds} rounds"
        )
    for name in ("threads", "single"):
        rate = arguments.threads / statistics.median(seconds[name])
        cost = 1000 * statistics.median(cpu[name]) / arguments.threads
        print(f"{name:8} {rate:7.0f} texts/s, {cost:.2f} ms of CPU time a text")
    print(f"batches  {min(batches)} to {max(batches)}, median {statistics.median(batches):g}")
    for name, figures in (("rate", seconds), ("CPU time", cpu)):
        ratio = statistics.median(figures["single"]) / statistics.median(figures["threads"])
        print(f"ratio    {ratio:.2f} in {name}")
    print(f"cosine   {cosine:.7f} at least")


if __name__ == "__main__":
    main()
