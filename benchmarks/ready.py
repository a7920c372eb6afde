"""The time from the start of `jlocal serve` to the first answer of its health route.

python benchmarks/ready.py starter small-retrieval-Q8_0.gguf

Beside it is llama-server where it is on PATH: it should be of the llama.cpp that jlocal uses. A
health route answers when the model is loaded; with --lazy, before that. Each model is started once
before the rounds, so that its file is in memory and jlocal has tried it. The CPU seconds are those
of all threads, from the start to the end of the process, which ends after that answer: on a machine
that others use, they vary less than the time does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from machine import describe, versions
from processes import child, environment, say, tail

import server

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "jlocal" / "models" / "jlocal-starter-retrieval-Q8_0.gguf"


@dataclass(frozen=True)
class Start:
    """One start of a server.

    Attributes:
        seconds: until its health route answers.
        cpu: seconds of its threads until it has ended.

    """

    seconds: float
    cpu: float


def start(command: list[str], port: int) -> Start:
    """Start a server, and end it when its health route answers."""
    before = os.times()
    with tempfile.TemporaryFile("w+") as log:
        begin = time.perf_counter()
        with child(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
        ) as process:
            try:
                server.wait(process, port)
            except OSError:
                sys.exit(f"{' '.join(command)} failed:\n{tail(log)}")
            seconds = time.perf_counter() - begin
    after = os.times()
    user = after.children_user - before.children_user
    return Start(seconds, user + after.children_system - before.children_system)


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
    print(f"rounds: {options.rounds}", end="\n\n")
    print(
        "| model | server | median, s | least, s | most, s | median of CPU, s | least of CPU, s |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for model in options.models:
        starts: dict[str, list[Start]] = {}
        for number in range(options.rounds + 1):
            port = server.free_port()
            for name, command in commands(model, port, os.cpu_count() or 1).items():
                measured = start(command, port)
                if number:
                    starts.setdefault(name, []).append(measured)
            say(f"  {model}: round {number}")
        for name, row in starts.items():
            times, cpu = [one.seconds for one in row], [one.cpu for one in row]
            values = (median(times), min(times), max(times), median(cpu), min(cpu))
            cells = " | ".join(f"{value:.2f}" for value in values)
            print(f"| {Path(model).name} | {name} | {cells} |")


if __name__ == "__main__":
    main()
