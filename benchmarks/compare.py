"""jlocal and its peers side by side: same texts, same weights, alternating rounds in one run.

    pip install '.[bench]'
    python benchmarks/compare.py --output docs/benchmarks.md

Each peer is a process of its own that loads its model once. In every round each of them embeds the
same fresh texts, one after the other; what is printed are medians over the rounds, and ratios. A
llama-server on PATH takes part. All weights are random: speed does not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models
import numpy as np
import numpy.typing as npt

from jlocal import Embedder, __version__

HERE = Path(__file__).resolve().parent
REFERENCE = "pooled"
GGUF_PEERS = ("jlocal", "pooled", "llama_embed_512", "llama_embed_2048", "llama_server")
TORCH_PEERS = ("st_bfloat16", "st_float32")


@dataclass(frozen=True)
class Workload:
    """So many texts of about so many tokens."""

    texts: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.texts} x {self.tokens}"


@dataclass
class Peer:
    """A process that embeds, and what was measured of it."""

    name: str
    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    cosine: float = 1.0

    def ask(self, job: dict[str, str]) -> dict[str, Any]:
        """Give the process a job, and wait for its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for the next line of the process."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended; run it alone: python benchmarks/peers.py {self.name} …")
        result: dict[str, Any] = json.loads(line)
        return result


def main() -> None:
    """Run what was asked for, and print and write the table."""
    options = arguments()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for kind in options.types:
        for load in options.loads:
            rows += compare(options, kind, load, folder)
            if options.output:  # each time, since a full run takes long
                options.output.write_text(report(rows, options))
    print("\n" + report(rows, options))
    if options.output:
        plot(rows, options.output.with_suffix(".svg"))


def compare(
    options: argparse.Namespace, kind: str, load: Workload, folder: Path
) -> list[dict[str, Any]]:
    """All peers on one file and one workload."""
    path = models.gguf(options.model, kind, folder)
    checkpoint = models.checkpoint(options.model, folder)
    names = [name for name in options.peers if name != "llama_server" or has_server()]
    say(f"{path.name}, {load} tokens: loading {', '.join(names)}")
    peers = [start(name, path if name in GGUF_PEERS else checkpoint) for name in names]
    with tempfile.TemporaryDirectory() as scratch, Embedder(path, threads=1) as tokenizer:
        for number in range(options.rounds + 1):
            texts, tokens = make_texts(tokenizer, load, seed=number)
            source = Path(scratch, "texts.json")
            source.write_text(json.dumps(texts))
            # Every peer begins a round as often as any other.
            turn = number % len(peers)
            for peer in peers[turn:] + peers[:turn]:
                answer = peer.ask({"texts": str(source), "vectors": vectors_of(scratch, peer)})
                peer.peak = answer["peak"]
                if number:  # the first round warms up
                    peer.seconds.append(answer["seconds"])
            note_cosines(peers, scratch)
            say(f"  round {number}: " + ", ".join(f"{p.name} {shown(p)}" for p in peers))
    for peer in peers:
        assert peer.process.stdin
        peer.process.stdin.close()
        peer.process.wait()
    ours = statistics.median(next(p for p in peers if p.name == "jlocal").seconds)
    return [
        {
            "type": kind,
            "load": str(load),
            "peer": peer.name,
            "tokens_per_second": tokens / statistics.median(peer.seconds),
            "times_slower": statistics.median(peer.seconds) / ours,
            "cosine": peer.cosine,
            "peak_mb": peer.peak / 1e6,
        }
        for peer in peers
    ]


def start(name: str, model: Path) -> Peer:
    """Start one peer and wait until its model is loaded."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "peers.py"), name, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peer = Peer(name, process)
    peer.answer()
    return peer


def make_texts(model: Embedder, load: Workload, seed: int) -> tuple[list[str], int]:
    """English-looking texts of exactly the wanted length, and their tokens in all."""
    random = np.random.default_rng(seed)
    words = (HERE.parent / "LICENSE").read_text().split()
    texts = []
    for _ in range(load.texts):
        text = " ".join(random.choice(words, load.tokens))
        while len(model.tokenize(text)) > load.tokens:
            surplus = len(model.tokenize(text)) - load.tokens
            text = text[: -max(1, 2 * surplus)].rstrip()
        texts.append(text)
    return texts, sum(len(model.tokenize(text)) for text in texts)


def note_cosines(peers: Sequence[Peer], scratch: str) -> None:
    """Compare everyone's vectors with those that llama.cpp pools itself."""
    reference = next((peer for peer in peers if peer.name == REFERENCE), peers[0])
    expected = unit(np.load(vectors_of(scratch, reference)))
    for peer in peers:
        found = unit(np.load(vectors_of(scratch, peer)))
        peer.cosine = min(peer.cosine, float((found * expected).sum(axis=1).min()))


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Rows of unit length in float64."""
    rows = vectors.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vectors_of(scratch: str, peer: Peer) -> str:
    """Where a peer writes its vectors."""
    return str(Path(scratch, f"{peer.name}.npy"))


def shown(peer: Peer) -> str:
    """Return the last time of a peer, as text."""
    return f"{peer.seconds[-1]:.2f} s" if peer.seconds else "warm"


def has_server() -> bool:
    """Tell whether llama-server is there to compare with."""
    return shutil.which("llama-server") is not None


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Write a Markdown table for each file and workload."""
    lines = [
        "# Side by side",
        "",
        f"`python benchmarks/compare.py {' '.join(sys.argv[1:])}`",
        "",
        f"{time.strftime('%Y-%m-%d')}, jlocal {__version__}, model shape {options.model}, "
        f"{options.rounds} rounds after one to warm up, medians. {machine()}",
        "",
        "`pooled` is jlocal with llama.cpp's own pooling; cosines are minima against it.",
    ]
    groups = dict.fromkeys((row["type"], row["load"]) for row in rows)
    for kind, load in groups:
        lines += [
            "",
            f"## {kind}, {load} tokens",
            "",
            "| | tokens/s | times as long as jlocal | cosine | peak memory, MB |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {row['peer']} | {row['tokens_per_second']:,.0f} | {row['times_slower']:.2f} "
            f"| {row['cosine']:.6f} | {row['peak_mb']:,.0f} |"
            for row in rows
            if (row["type"], row["load"]) == (kind, load)
        ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Name the processor, and what it reaches in a bfloat16 matrix product where torch is."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = f"{found[0].split(':')[1].strip()}, {len(found)} CPUs" if found else name
    try:
        import torch
    except ImportError:
        return name
    a = torch.randn(4096, 4096).to(torch.bfloat16)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return f"{name}, {2 * 4096**3 / min(times) / 1e9:,.0f} GFLOP/s in a bfloat16 matrix product."


def plot(rows: list[dict[str, Any]], target: Path) -> None:
    """Draw tokens a second, a group of bars for each file and workload."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    groups = list(dict.fromkeys((row["type"], row["load"]) for row in rows))
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    figure, axes = pyplot.subplots(figsize=(9, 0.5 + 0.2 * len(groups) * len(peers)))
    for number, peer in enumerate(peers):
        found = {(r["type"], r["load"]): r["tokens_per_second"] for r in rows if r["peer"] == peer}
        positions = [
            index + number / (len(peers) + 1)
            for index, group in enumerate(groups)
            if group in found
        ]
        axes.barh(positions, list(found.values()), 0.9 / (len(peers) + 1), label=peer)
    axes.set_yticks([index + 0.4 for index in range(len(groups))])
    axes.set_yticklabels([f"{kind}, {load}" for kind, load in groups])
    axes.invert_yaxis()
    axes.set_xlabel("tokens/s")
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(target)


def say(message: str) -> None:
    """Report progress on standard error."""
    print(message, file=sys.stderr, flush=True)


def workload(text: str) -> Workload:
    """Read `32x64`."""
    texts, _, tokens = text.partition("x")
    return Workload(int(texts), int(tokens))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", choices=models.SHAPES, default="small")
    parser.add_argument("--types", nargs="+", default=["BF16", "Q8_0"])
    parser.add_argument(
        "--loads", nargs="+", type=workload, default=[Workload(32, 64), Workload(4, 512)]
    )
    parser.add_argument("--peers", nargs="+", default=[*GGUF_PEERS, *TORCH_PEERS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "jlocal-bench"))
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
