"""Texts one after the other on all threads, or side by side on a thread each.

python benchmarks/contexts.py starter
python benchmarks/contexts.py small-retrieval-Q8_0.gguf --busy 2

llama.cpp's threads wait for each other after each operation, hundreds of times for a batch. With a
context for each thread nobody waits, but each thread reads all weights by itself. Both ways compute
the same batches, in turns; `--busy` adds programs that use the cores as well.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
from machine import describe, versions
from processes import child, say

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal.llama.context import Context, captures  # noqa: E402
from jlocal.llama.model import Model  # noqa: E402
from jlocal.models.names import resolve  # noqa: E402
from jlocal.models.profile import read_profile  # noqa: E402

# Tokens of a text, and texts of a batch.
SIZES = ((12, 1), (12, 32), (64, 16), (512, 2), (512, 1))


def rate(contexts: list[Context], batches: list[list[np.ndarray]]) -> float:
    """Return tokens a second; the contexts take batches from one queue."""
    queue: SimpleQueue[list[np.ndarray]] = SimpleQueue()
    for batch in batches:
        queue.put(batch)

    def work(context: Context) -> None:
        with contextlib.suppress(Empty):
            while True:
                context.embed(queue.get_nowait(), lambda: False)

    with ThreadPoolExecutor(len(contexts)) as pool:
        begin = time.perf_counter()
        list(pool.map(work, contexts))
        seconds = time.perf_counter() - begin
    return sum(len(tokens) for batch in batches for tokens in batch) / seconds


@contextlib.contextmanager
def competitors(count: int) -> Iterator[None]:
    """Keep this many cores busy with other programs."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(
                child([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL)
            )
        yield


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", help="names, or paths of GGUF files")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--busy", type=int, default=0, help="programs that use a core each")
    options = parser.parse_args()
    print(describe("cpu"), versions(), f"busy programs: {options.busy}", sep="\n", end="\n\n")
    print("| model | texts x tokens | threads within, tokens/s | contexts, tokens/s | ratio |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name in options.models:
        profile = read_profile(resolve(name))
        model = Model(profile, threads=options.threads, gpu_layers=0, compute_type="auto")
        captured = captures(profile)
        within = [Context(model, options.threads, captured)]
        apart = [Context(model, 1, captured) for _ in range(options.threads)]
        random = np.random.default_rng(0)
        for tokens, texts in SIZES:
            batch = [
                random.integers(100, model.vocabulary - 100, tokens, dtype=np.int32)
                for _ in range(texts)
            ]
            # Warm, and how many batches take the time.
            first = rate(within, [batch])
            rate(apart, [batch] * len(apart))
            count = max(2 * options.threads, int(options.seconds * first / (tokens * texts)))
            batches = [batch] * (count + count % options.threads)
            rows: list[tuple[float, float]] = []
            with competitors(options.busy):
                for number in range(options.rounds):
                    if number % 2:
                        second, first = rate(apart, batches), rate(within, batches)
                    else:
                        first, second = rate(within, batches), rate(apart, batches)
                    rows.append((first, second))
                    say(f"  {name} {texts}x{tokens}: {first:,.0f} {second:,.0f}")
            one, two = (statistics.median(column) for column in zip(*rows, strict=True))
            ratio = statistics.median(b / a for a, b in rows)
            row = f"{Path(name).name} | {texts} x {tokens} | {one:,.0f} | {two:,.0f} | {ratio:.2f}"
            print(f"| {row} |", flush=True)
        for context in (*within, *apart):
            context.close()


if __name__ == "__main__":
    main()
