"""Batches side by side on a thread each, compared with all threads in each batch.

python benchmarks/contexts.py starter
python benchmarks/contexts.py small-retrieval-Q8_0.gguf --busy 2

llama.cpp's threads wait for each other after each operation, hundreds of times for a batch. With a
context for each thread nobody waits, but each thread reads all weights by itself. Both schedulers
compute the same calls, in turns; `--busy` adds programs that use a core each. Times are medians of
the time of a call over the rounds, ratios medians over the rounds.
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
from pathlib import Path

import numpy as np
from machine import describe, versions
from processes import child, say
from workload import Workload

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal.llama.planning import fits_one_batch  # noqa: E402
from jlocal.llama.runtime import Runtime  # noqa: E402
from jlocal.llama.scheduler import Scheduler  # noqa: E402
from jlocal.models.names import resolve  # noqa: E402
from jlocal.models.profile import read_profile  # noqa: E402

# Texts of a call, and tokens of a text.
SIZES = ("1x12", "32x12", "16x64", "2x512", "1x4000", "2000x12")


def seconds(scheduler: Scheduler, texts: list[np.ndarray], calls: int) -> float:
    """Return the seconds that a call takes; one call follows the other, as in `encode`."""
    begin = time.perf_counter()
    for _ in range(calls):
        if fits_one_batch([*map(len, texts)], scheduler.token_budget):
            scheduler.submit_group(texts).result()
        else:
            scheduler.submit_job(texts).result()
    return (time.perf_counter() - begin) / calls


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
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="texts x tokens of a call")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=1, help="minimum duration of each measurement"
    )
    parser.add_argument("--busy", type=int, default=0, help="programs that use a core each")
    options = parser.parse_args()
    print(describe("cpu"), versions(), f"busy programs: {options.busy}", sep="\n")
    print(f"load average: {os.getloadavg()[0]:.1f}", end="\n\n")
    print("| model | texts x tokens | all threads, ms | side by side, ms | faster |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name in options.models:
        profile = read_profile(resolve(name))
        together, apart = (
            Runtime(
                profile,
                threads=options.threads,
                gpu_layers=0,
                compute_type="auto",
                capture=None,
                side_by_side=side_by_side,
            )
            for side_by_side in (False, True)
        )
        random = np.random.default_rng(0)
        for size in map(Workload.parse, options.sizes):
            texts = [
                random.integers(100, together.model.vocabulary - 100, length, dtype=np.int32)
                for length in size.lengths
            ]
            # Warm, and how many calls take the time.
            longest = max(seconds(it.scheduler, texts, 2) for it in (together, apart))
            calls = max(1, int(options.seconds / longest))
            rows: list[tuple[float, float]] = []
            with competitors(options.busy):
                for number in range(options.rounds):
                    ways = (apart, together) if number % 2 else (together, apart)
                    found = {way: seconds(way.scheduler, texts, calls) for way in ways}
                    rows.append((found[together], found[apart]))
                    say(f"  {name} {size}: " + " ".join(f"{1000 * it:.2f}" for it in rows[-1]))
            one, two = (1000 * statistics.median(column) for column in zip(*rows, strict=True))
            ratio = statistics.median(a / b for a, b in rows)
            print(
                f"| {Path(name).name} | {size} | {one:,.1f} | {two:,.1f} | {ratio:.2f} |",
                flush=True,
            )
        for runtime in (together, apart):
            runtime.close()


if __name__ == "__main__":
    main()
