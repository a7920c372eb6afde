"""Tokens a second of jlocal and its peers: same texts, same weights.

    pip install -e . --group bench
    python benchmarks/throughput.py --output docs/benchmarks.md

A llama-server on PATH takes part.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import machine
import peers
import plot
from page import Part, Table, run
from processes import in_child, say
from rounds import entries, measure, rows
from workload import Workload, write_texts

import models

PEERS = (
    "jlocal", "jlocal_bfloat16", "jlocal_int8", "jlocal_stored", "jlocal_0_1", "pooled",
    "llama_embed_512", "llama_embed_2048", "llama_server", "st_bfloat16", "st_bfloat16_avx512",
    "st_float32",
)  # fmt: skip


def tables(options: argparse.Namespace) -> Iterator[Table]:
    """Compare on each file and each workload."""
    peak = in_child(machine.bfloat16_peak, options.device, peers.THREADS)
    for kind in options.types:
        for load in options.loads:
            yield compare(options, kind, load, peak)


def compare(options: argparse.Namespace, kind: str, load: Workload, peak: float | None) -> Table:
    """Compare all peers on one file and one workload."""
    where = "" if options.device == "cpu" else f" on {options.device}"
    heading = f"{options.model}, {kind}, {load} tokens{where}"
    say(heading)
    gguf, checkpoint = in_child(models.files, options.model, kind, options.folder)
    entered = entries(options.peers, gguf, checkpoint, options.device, load.tokens)
    with tempfile.TemporaryDirectory() as scratch:
        lengths = [load.lengths] * (options.rounds + 1)
        measured = measure(entered, in_child(write_texts, gguf, lengths, Path(scratch)))
    found = rows(measured)
    for row in found:
        row["tokens_per_second"] = load.texts * load.tokens / row["seconds"]
        if peak:
            work = models.operations_per_token(options.model)
            row["share"] = row["tokens_per_second"] * work / peak
    note = f"100 % would be {peak / 1e9:,.0f} GFLOP/s." if peak else ""
    return Table(heading, found, note)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--types", nargs="+", default=["BF16", "Q8_0"], help="types of the GGUF files"
    )
    parser.add_argument(
        "--loads",
        nargs="+",
        type=Workload.parse,
        default=[Workload(16, 64), Workload(2, 512)],
        help="texts x tokens of each text",
    )
    parser.add_argument("--peers", nargs="+", choices=peers.PEERS, default=PEERS)
    parser.add_argument("--device", choices=peers.DEVICES, default="cpu")


PART = Part(
    name="throughput",
    title="Throughput",
    about=(
        "Tokens a second with the model loaded; one text that is not timed wakes each program for "
        "its turn. `pooled` is jlocal with llama.cpp's own pooling, and cosines are the least "
        "against it; `llama_embed_512` is `llama_cpp.Llama.embed` with batches of 512 tokens; "
        "`st` is sentence-transformers, always with the weights of the checkpoint, and `avx512` "
        "without AMX. jlocal computes with what the column says; `jlocal_0_1` has none of its own "
        "kernels. The last column sets the matrix products of the layers (two operations a token "
        "for each of their parameters; no attention, no vocabulary head) against what torch "
        "reaches in a large bfloat16 product on the same machine."
    ),
    columns={
        "peer": ("", ""),
        "tokens_per_second": ("tokens/s", ",.0f"),
        "times": ("times as long as jlocal", ".2f"),
        "cosine": ("cosine", ".6f"),
        "peak_mb": ("peak memory, MB", ",.0f"),
        "compute_type": ("weights", ""),
        "share": ("of the bfloat16 peak", ".0%"),
    },
    arguments=arguments,
    measure=tables,
    draw=plot.bars,
)

if __name__ == "__main__":
    run(PART)
