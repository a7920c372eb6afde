"""The time of one text, from the start of a process to its end.

python benchmarks/startup.py --output docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import peers
from page import Part, Table, run
from processes import Run, in_child, say, whole

import models
import server

TEXT = "hello"
PEERS = ("jlocal", "llama_embed_512", "llama_server", "st_bfloat16", "st_float32")


def tables(options: argparse.Namespace) -> Iterator[Table]:
    """Run every peer in every round."""
    gguf, checkpoint = in_child(models.files, options.model, options.type, options.folder)
    starts: dict[str, Callable[[], Run]] = {}
    for name in options.peers:
        reason = peers.why_not(name, 1)
        if reason:
            say(f"  without {name}: {reason}")
        else:
            starts[name] = _start(name, checkpoint if peers.takes_checkpoint(name) else gguf)
    names = list(starts)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(options.rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            done = starts[name]()
            if number:  # the first round brings the files into memory
                runs[name].append(done)
        say(f"  round {number}: {_shown(runs)}")
    medians = {name: statistics.median(run.seconds for run in runs[name]) for name in names}
    base = medians.get("jlocal", medians[names[0]])
    found = [
        {
            "peer": name,
            "seconds": medians[name],
            "times": medians[name] / base,
            "peak_mb": max(run.peak for run in runs[name]) / 1e6,
            "every_seconds": [run.seconds for run in runs[name]],
        }
        for name in names
    ]
    yield Table(f"{options.model}, {options.type}, one short text", found)


def _start(name: str, model: Path) -> Callable[[], Run]:
    if name == "llama_server":
        return lambda: _server(model)
    if name in ("jlocal", "jlocal_stored"):
        options = ["embed", "-c", TEXT, "--prompt", "none", "-m", str(model)]
        options += ["--compute-type", "stored"] if name == "jlocal_stored" else []
        return lambda: whole([sys.executable, "-m", "jlocal", *options])
    script = str(Path(__file__).with_name("peers.py"))
    return lambda: whole([sys.executable, script, name, str(model), "--once", TEXT])


def _server(model: Path) -> Run:
    port = server.free_port()

    def use(process: subprocess.Popen[str]) -> None:
        server.wait(process, port)
        server.embed(port, [TEXT])

    return whole(server.command(str(model), port, peers.THREADS, 1), use)


def _shown(runs: dict[str, list[Run]]) -> str:
    last = [f"{name} {done[-1].seconds:.2f} s" for name, done in runs.items() if done]
    return ", ".join(last) or "warm"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--type", default="Q8_0", help="type of the GGUF file")
    parser.add_argument("--peers", nargs="+", choices=peers.PEERS, default=PEERS)


PART = Part(
    name="startup",
    title="One text, from start to end",
    about=(
        "The whole process, with the files in memory: `jlocal embed -c hello`; a script with "
        "`llama_cpp.Llama(…).embed`; llama-server, with the model's context of 32,768 tokens, from "
        "its start over its first answer to its end; a script with sentence-transformers."
    ),
    columns={
        "peer": ("", ""),
        "seconds": ("seconds", ".2f"),
        "times": ("times as long as jlocal", ".2f"),
        "peak_mb": ("peak memory, MB", ",.0f"),
    },
    arguments=arguments,
    measure=tables,
)

if __name__ == "__main__":
    run(PART)
