"""Many clients with one short text each: requests per second of `jlocal serve` and llama-server.

python benchmarks/load.py --model starter
python benchmarks/load.py --model small --slots 1 8 64    # the full-size shape, random weights
python benchmarks/load.py --model starter --requests 100000    # memory, of jlocal alone

Both servers run at the same time and take turns: in each round, each answers all clients for some
seconds. A client sends its next request when it has the answer to the last one. All vectors are
requested as base64, as OpenAI's clients do. A llama-server of the same llama.cpp must be on PATH;
`--slots` are its values of --parallel.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from machine import bfloat16_peak, describe, versions
from processes import child, environment, in_child, peak_memory, say

import models
import server

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal.models.profile import read_profile  # noqa: E402

STARTER = ROOT / "jlocal" / "models" / "jlocal-starter-retrieval-Q8_0.gguf"
_WORDS = ("backup", "disk", "night", "photo", "garden", "train", "letter", "river", "music", "oven")


@dataclass
class Peer:
    """A running server, and its measurements."""

    name: str
    port: int
    pid: int
    prompt: str = ""
    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def quantile(self, part: float) -> float:
        """Milliseconds within which this share of the requests was answered."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class Client(asyncio.Protocol):
    """One connection that sends requests one after the other."""

    def __init__(self, peer: Peer, bodies: list[bytes], until: float, left: list[int]) -> None:
        self.peer, self.bodies, self.until, self.left = peer, bodies, until, left
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.buffer, self.count, self.sent = b"", 0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Send the next request, or close the connection."""
        if time.perf_counter() >= self.until or not self.left[0]:
            self.transport.close()
            return
        self.left[0] -= 1
        self.sent = time.perf_counter()
        self.transport.write(self.bodies[self.count % len(self.bodies)])

    def data_received(self, data: bytes) -> None:
        """Read the answer."""
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        if len(body) < length:
            return
        self.peer.seconds.append(time.perf_counter() - self.sent)
        self.peer.failures += b" 200 " not in head[:16]
        self.buffer, self.count = body[length:], self.count + 1
        self.send()

    def connection_lost(self, _: Exception | None) -> None:
        """Report the number of answers."""
        self.done.set_result(self.count)


async def burst(peer: Peer, clients: int, seconds: float, requests: int) -> None:
    """Let all clients ask for some seconds, or this number of requests."""
    loop = asyncio.get_running_loop()
    start, left = time.perf_counter(), [requests]
    made = []
    for number in range(clients):
        bodies = [request(peer, number, turn) for turn in range(16)]
        _, client = await loop.create_connection(
            lambda bodies=bodies: Client(peer, bodies, start + seconds, left),
            "127.0.0.1",
            peer.port,
        )
        made.append(client)
    counts = [await client.done for client in made]
    peer.rates.append(sum(counts) / (time.perf_counter() - start))


def request(peer: Peer, client: int, turn: int) -> bytes:
    """Make a request with a text of about 12 tokens that no other client sends."""
    words = [_WORDS[(client * (turn + 3) + place * (turn + 1)) % 10] for place in range(8)]
    text = f"{peer.prompt}{' '.join(words)} {client} {turn}"
    body = json.dumps({"input": text, "model": "m", "encoding_format": "base64"}).encode()
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1:{peer.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def started(options: argparse.Namespace, model: Path, stack: ExitStack) -> Iterator[Peer]:
    """Start the servers."""
    log = stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
    threads = str(options.threads)

    def start(name: str, command: list[str], port: int, prompt: str = "") -> Peer:
        process = stack.enter_context(
            child(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
        )
        server.wait(process, port)
        return Peer(name, port, process.pid, prompt)

    port = server.free_port()
    command = [sys.executable, "-m", "jlocal", "serve", "-m", f"m={model}", "--port", str(port)]
    yield start("jlocal serve", [*command, "--threads", threads, "-q"], port)
    if options.requests:
        return
    if not shutil.which("llama-server"):
        say("  without llama-server: it is not on PATH")
        return
    profile = read_profile(model)
    # jlocal puts the default prompt before each text by itself.
    prompt = profile.prompts.get(profile.default_prompt or "", "")
    for slots in options.slots:
        port = server.free_port()
        command = server.command(str(model), port, options.threads, 512)
        command += ["--parallel", str(slots), "--cont-batching", "--no-webui"]
        yield start(f"llama-server, {slots} slots", command, port, prompt)


def same_vectors(peers: list[Peer]) -> float:
    """Return the least cosine of the other servers' vectors to the first one's."""
    import urllib.request

    rows = []
    for peer in peers:
        _, body = request(peer, 1, 1).split(b"\r\n\r\n")
        url = f"http://127.0.0.1:{peer.port}/v1/embeddings"
        asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            value = json.load(answer)["data"][0]["embedding"]
        rows.append(np.frombuffer(base64.b64decode(value), "<f4"))
    return min(float(row @ rows[0] / np.linalg.norm(row)) for row in rows)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="starter", choices=["starter", *models.SHAPES])
    parser.add_argument("--type", default="Q8_0")
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "models")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument(
        "--requests", type=int, help="number of requests, to jlocal alone, for its memory"
    )
    options = parser.parse_args()
    if options.model == "starter":
        model = STARTER
    else:
        model = in_child(models.gguf, options.model, options.type, options.folder)
    print(f"{describe('cpu')}\n{versions()}")
    peak = in_child(bfloat16_peak, "cpu", options.threads)
    print(f"bfloat16 peak: {peak / 1e9:,.0f} Gop/s\n" if peak else "", flush=True)
    with ExitStack() as stack:
        peers = list(started(options, model, stack))
        if options.requests:
            memory(peers[0], options)
            return
        print(f"Least cosine to jlocal's vectors: {same_vectors(peers):.6f}\n")
        for number in range(options.rounds + 1):
            turn = number % len(peers)
            for peer in peers[turn:] + peers[:turn]:
                asyncio.run(burst(peer, options.clients, options.seconds, 1 << 40))
                if not number:  # a round to warm up
                    peer.rates.clear(), peer.seconds.clear()
            say(f"  round {number}: {[round(peer.rates[-1]) for peer in peers if peer.rates]}")
        rows(peers)


def rows(peers: list[Peer]) -> None:
    """Print the table."""
    print("| server | requests/s | of jlocal's | p50, ms | p99, ms | failed | most memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    base = statistics.median(peers[0].rates)
    for peer in peers:
        rate = statistics.median(peer.rates)
        print(
            f"| {peer.name} | {rate:,.0f} | {rate / base:.2f} | {peer.quantile(0.5):.1f} | "
            f"{peer.quantile(0.99):.1f} | {peer.failures} | {peak_memory(peer.pid) / 1e6:,.0f} |"
        )


def memory(peer: Peer, options: argparse.Namespace) -> None:
    """Print the memory of a server after each tenth of the requests."""
    print("| requests | resident, MB | most, MB | failed |\n| ---: | ---: | ---: | ---: |")
    for part in range(1, 11):
        asyncio.run(burst(peer, options.clients, 1 << 30, options.requests // 10))
        lines = Path(f"/proc/{peer.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        print(
            f"| {part * options.requests // 10:,} | {resident * 1024 / 1e6:,.1f} | "
            f"{peak_memory(peer.pid) / 1e6:,.1f} | {peer.failures} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
