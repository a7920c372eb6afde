"""Many short lines: the memory of `jlocal embed`, and the time outside llama.cpp.

python benchmarks/lines.py --output docs/benchmarks.md
python benchmarks/lines.py --lines 1000000 --rounds 1 --output docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import peers
from page import Part, Row, Table, run
from processes import Run, in_child, say, whole
from workload import count_tokens, read_lines, write_lines, write_texts

import models

STREAMED = "tiny"


def tables(options: argparse.Namespace) -> Iterator[Table]:
    """Measure whole processes, then the time inside and outside llama.cpp."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        gguf, _ = in_child(models.files, STREAMED, options.type, options.folder)
        sources = {count: scratch / f"{count}.txt" for count in options.lines}
        for count, source in sources.items():
            write_lines(source, count)
        rows = _processes(gguf, sources, options.rounds)
        heading = f"{STREAMED}, {options.type}"
        yield Table(f"{heading}: `jlocal embed -i lines.txt -o lines.npy`", rows)

        rows = [_overhead(STREAMED, gguf, sources[min(sources)], options)]
        if options.model != STREAMED:
            gguf, _ = in_child(models.files, options.model, options.type, options.folder)
            rows.append(
                _overhead(options.model, gguf, _texts(gguf, options.texts, scratch), options)
            )
        yield Table(f"{options.type}: the time outside llama.cpp", rows)


def _processes(gguf: Path, sources: dict[int, Path], rounds: int) -> list[Row]:
    _process(gguf, sources[min(sources)])  # brings the files into memory
    runs: dict[int, list[Run]] = {count: [] for count in sources}
    for number in range(rounds):
        for count, source in sources.items():
            runs[count].append(_process(gguf, source))
            say(f"  round {number + 1}: {count:,} lines, {runs[count][-1].seconds:.1f} s")
    rows = []
    for count, source in sources.items():
        tokens = in_child(count_tokens, gguf, source)
        seconds = statistics.median(run.seconds for run in runs[count])
        rows.append(
            {
                "texts": count,
                "tokens": tokens,
                "seconds": seconds,
                "texts_per_second": count / seconds,
                "tokens_per_second": tokens / seconds,
                "peak_mb": max(run.peak for run in runs[count]) / 1e6,
                "every_seconds": [run.seconds for run in runs[count]],
            }
        )
    return rows


def _process(gguf: Path, source: Path) -> Run:
    output = source.with_suffix(".npy")
    command = [sys.executable, "-m", "jlocal", "embed", "-q", "--prompt", "none"]
    done = whole([*command, "-m", str(gguf), "-i", str(source), "-o", str(output)])
    output.unlink()
    return done


def _texts(gguf: Path, count: int, scratch: Path) -> Path:
    (source,) = in_child(write_texts, gguf, [[64] * count], scratch)
    target = scratch / "texts.txt"
    target.write_text("\n".join(json.loads(source.read_text())) + "\n")
    return target


def _overhead(model: str, gguf: Path, source: Path, options: argparse.Namespace) -> Row:
    row = in_child(overhead, gguf, source, options.rounds)
    say(f"  {model}: {row['outside']:.1%} of {row['seconds']:.1f} s outside llama_decode")
    return {"model": model, **row}


def overhead(gguf: Path, source: Path, rounds: int) -> Row:
    """Stream lines, and split the time.

    llama.cpp calls a callback for every node of its graph, inside `llama_decode`. Where that is a
    function in Python, its time is measured too; that of jlocal's kernels takes none.
    """
    from jlocal import Embedder
    from jlocal.llama.library import api

    decode, callback = _Timed(), _Timed()
    api.llama_decode = decode.around(api.llama_decode)
    kind = api.ggml_backend_sched_eval_callback
    api.ggml_backend_sched_eval_callback = lambda function: kind(
        callback.around(function) if callable(function) else function
    )
    walls, shares = [], []
    with Embedder(gguf, threads=peers.THREADS, gpu_layers=0) as embedder:
        texts = tokens = 0

        def on_texts(more_texts: int, more_tokens: int) -> None:
            nonlocal texts, tokens
            texts, tokens = texts + more_texts, tokens + more_tokens

        def stream(lines: Iterable[str]) -> float:
            decode.seconds = callback.seconds = 0.0
            begin = time.perf_counter()
            for _ in embedder.stream(lines, prompt="", on_texts=on_texts):
                pass
            return time.perf_counter() - begin

        stream(line for line, _ in zip(read_lines(source), range(64), strict=False))
        for _ in range(rounds):
            texts = tokens = 0
            wall = stream(read_lines(source))
            walls.append(wall)
            shares.append((1 - decode.seconds / wall, callback.seconds / wall))
    outside, asked = (statistics.median(values) for values in zip(*shares, strict=True))
    return {
        "texts": texts,
        "tokens": tokens,
        "seconds": statistics.median(walls),
        "tokens_per_second": tokens / statistics.median(walls),
        "outside": outside,
        "callback": asked,
        "every_seconds": walls,
    }


class _Timed:
    """Adds up the time of calls."""

    seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - begin

        return timed


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--lines", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument(
        "--texts", type=int, default=128, help="number of texts of 64 tokens, for --model"
    )
    parser.add_argument("--type", default="Q8_0", help="type of the GGUF files")


PART = Part(
    name="lines",
    title="Many short lines",
    about=(
        "With a model of two narrow layers everything that is not llama.cpp weighs most. The first "
        "table is of whole processes; memory should not grow with the lines. The second is of "
        "`Embedder.stream` in a process that has its model: the share of time outside "
        "`llama_decode`, and inside of it, in a callback in Python that reads hidden states, which "
        "jlocal's kernels replace; also for texts of 64 tokens with a model of full size."
    ),
    columns={
        "model": ("", ""),
        "texts": ("lines", ",.0f"),
        "tokens": ("tokens", ",.0f"),
        "seconds": ("seconds", ",.2f"),
        "texts_per_second": ("lines/s", ",.0f"),
        "tokens_per_second": ("tokens/s", ",.0f"),
        "peak_mb": ("peak memory, MB", ",.0f"),
        "outside": ("outside llama_decode", ".1%"),
        "callback": ("in the callback", ".1%"),
    },
    arguments=arguments,
    measure=tables,
    rounds=3,
)

if __name__ == "__main__":
    run(PART)
