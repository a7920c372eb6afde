"""The time from the start of `jlocal serve` to its first answer, beside llama-server's.

python benchmarks/ready.py starter small-retrieval-Q8_0.gguf

llama-server must be on PATH, of the llama.cpp that jlocal uses. Each model is started once before
the rounds, so that its file is in memory and jlocal has tried it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe, versions
from processes import child, environment, say

import server

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "jlocal" / "models" / "jlocal-starter-retrieval-Q8_0.gguf"


def seconds(command: list[str], port: int) -> float:
    """Return the time until a server answers its health route."""
    with tempfile.TemporaryFile("w+") as log:
        begin = time.perf_counter()
        with child(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
        ) as process:
            server.wait(process, port)
            return time.perf_counter() - begin


def commands(model: str, port: int, threads: int) -> dict[str, list[str]]:
    """Return the ways to start a server."""
    path = str(STARTER) if model == "starter" else model
    ours = [sys.executable, "-m", "jlocal", "serve", "-q", "-m", model, "--port", str(port)]
    ways = {"jlocal serve": ours, "jlocal serve --lazy": [*ours, "--lazy"]}
    if shutil.which("llama-server"):
        ways["llama-server"] = server.command(path, port, threads, 512)
    return ways


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", help="names, or paths of GGUF files")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe("cpu"), versions(), sep="\n", end="\n\n")
    print("| model | server | median, s | most, s |\n| --- | --- | ---: | ---: |")
    for model in options.models:
        times: dict[str, list[float]] = {}
        for number in range(options.rounds + 1):
            port = server.free_port()
            for name, command in commands(model, port, os.cpu_count() or 1).items():
                measured = seconds(command, port)
                if number:
                    times.setdefault(name, []).append(measured)
            say(f"  {model}: round {number}")
        for name, row in times.items():
            median = statistics.median(row)
            print(f"| {Path(model).name} | {name} | {median:.2f} | {max(row):.2f} |")


if __name__ == "__main__":
    main()
