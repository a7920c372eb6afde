"""Peers as waiting processes that embed the same texts, one after the other, in rounds."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import peers
from page import Row
from processes import child, environment, say, tail

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """A peer that takes part: a name of `peers.PEERS`, what it shall load, and where."""

    name: str
    model: Path
    device: str
    longest: int

    def __str__(self) -> str:
        return self.name if self.device == "cpu" else f"{self.name}, {self.device}"


@dataclass
class Peer:
    """A process that embeds, and its measurements."""

    entry: Entry
    process: subprocess.Popen[str]
    log: IO[str]
    vectors: Path
    loaded: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    cosine: float | None = None

    @property
    def median(self) -> float:
        """Seconds for one round."""
        return statistics.median(self.seconds)

    def answer(self, job: dict[str, str] | None = None) -> dict[str, Any]:
        """Give the process a job, if any, and wait for its answer."""
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            if job:
                self.process.stdin.write(json.dumps(job) + "\n")
                self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.entry} ended:\n{tail(self.log)}")
        result: dict[str, Any] = json.loads(line)
        return result

    def embed(self, texts: Path, waking: Path, *, warm_up: bool) -> None:
        """Embed the texts of a file, after those of another one, which are not timed.

        A virtual machine's host may have taken the memory of a process that waited for its turn;
        its first text then takes up to 0.3 s longer.
        """
        self.answer({"texts": str(waking), "vectors": str(self.vectors)})
        answer = self.answer({"texts": str(texts), "vectors": str(self.vectors)})
        self.peak = answer["peak"]
        if not warm_up:
            self.seconds.append(answer["seconds"])


def entries(
    names: Sequence[str], gguf: Path, checkpoint: Path, device: str, longest: int
) -> list[Entry]:
    """Return the peers that can take part, and report why the others cannot."""
    entered = []
    for name in names:
        reason = peers.why_not(name, longest)
        if reason:
            say(f"  without {name}: {reason}")
        else:
            model = checkpoint if peers.takes_checkpoint(name) else gguf
            entered.append(Entry(name, model, device, longest))
    if not entered:
        sys.exit("no peer is left")
    return entered


def measure(
    entered: Sequence[Entry], texts: Sequence[Path], reference: Entry | None = None
) -> list[Peer]:
    """Run them all.

    Args:
        entered: the peers.
        texts: the file of each round; the first warms up.
        reference: whose vectors the others' are compared with; `pooled` if it takes part, or
            else the first.

    Returns:
        The peers with their figures; a cosine is the least of all rounds and texts.

    """
    pooled = next((entry for entry in entered if entry.name == "pooled"), entered[0])
    compared = entered.index(reference or pooled)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        say(f"  loading {', '.join(map(str, entered))}")
        running = [
            stack.enter_context(_start(entry, scratch / f"{number}.npy"))
            for number, entry in enumerate(entered)
        ]
        waking = scratch / "waking.json"
        waking.write_text(json.dumps(json.loads(texts[0].read_text())[:1]))
        for number, source in enumerate(texts):
            # Every peer begins a round as often as any other.
            turn = number % len(running)
            for peer in running[turn:] + running[:turn]:
                peer.embed(source, waking, warm_up=number == 0)
            _note_cosines(running, running[compared])
            last = [f"{peer.entry} {peer.seconds[-1]:.2f} s" for peer in running if peer.seconds]
            say(f"  round {number}: {', '.join(last) or 'warm'}")
    return running


def rows(measured: Sequence[Peer]) -> list[Row]:
    """Give what every table of peers has: a row for each, in which jlocal, or the first, is 1."""
    base = next((peer for peer in measured if peer.entry.name == "jlocal"), measured[0])
    return [
        {
            "peer": str(peer.entry),
            "seconds": peer.median,
            "times": peer.median / base.median,
            "cosine": peer.cosine,
            "peak_mb": peer.peak / 1e6,
            "compute_type": peer.loaded.get("compute_type"),
            "every_seconds": peer.seconds,
        }
        for peer in measured
    ]


@contextlib.contextmanager
def _start(entry: Entry, vectors: Path) -> Iterator[Peer]:
    """Start a peer, and wait until its model is loaded."""
    command = [sys.executable, str(HERE / "peers.py"), entry.name, str(entry.model)]
    command += ["--device", entry.device, "--longest", str(entry.longest)]
    with (
        tempfile.TemporaryFile("w+") as log,
        child(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(entry.device),
        ) as process,
    ):
        peer = Peer(entry, process, log, vectors)
        peer.loaded = peer.answer()
        yield peer


def _note_cosines(running: Sequence[Peer], reference: Peer) -> None:
    if len(running) == 1:
        return
    expected = _unit(np.load(reference.vectors))
    for peer in running:
        found = float((_unit(np.load(peer.vectors)) * expected).sum(axis=1).min())
        peer.cosine = found if peer.cosine is None else min(peer.cosine, found)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    rows = vectors.astype(np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
