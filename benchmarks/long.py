"""The time and memory for one long text.

    python benchmarks/long.py --output docs/benchmarks.md
    python benchmarks/long.py --tokens 32768 --peers jlocal --rounds 1 --output docs/benchmarks.md

llama-server computes a text in one batch and makes logits for each token, 1.2 MB each: 40 GB for
32,768 tokens. So measure only jlocal with such texts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import peers
from page import Part, Table, run
from processes import in_child, say
from rounds import entries, measure, rows
from workload import write_texts

import models

PEERS = ("jlocal", "llama_server")
_BESIDES = 0.6e9  # Python, the vocabulary, and what llama.cpp computes in


def tables(options: argparse.Namespace) -> Iterator[Table]:
    """Measure one text of each length."""
    gguf, checkpoint = in_child(models.files, options.model, options.type, options.folder)
    where = "" if options.device == "cpu" else f" on {options.device}"
    for tokens in options.tokens:
        heading = f"{options.model}, {options.type}, {tokens:,} tokens{where}"
        say(heading)
        entered = entries(options.peers, gguf, checkpoint, options.device, tokens)
        # A long text warms up no better than a short one, and can take many minutes.
        lengths = [[64]] + [[tokens]] * options.rounds
        with tempfile.TemporaryDirectory() as scratch:
            found = rows(measure(entered, in_child(write_texts, gguf, lengths, Path(scratch))))
        cache = tokens * models.cache_per_token(options.model)
        for row in found:
            if row["peer"] == "jlocal":
                weights = in_child(models.weights, gguf, row["compute_type"])
                row["bound_mb"] = (weights + cache + _BESIDES) / 1e6
        yield Table(heading, found)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--tokens", nargs="+", type=int, default=[4000], help="lengths of the text")
    parser.add_argument("--type", default="Q8_0", help="type of the GGUF file")
    parser.add_argument("--peers", nargs="+", choices=peers.PEERS, default=PEERS)
    parser.add_argument("--device", choices=peers.DEVICES, default="cpu")


PART = Part(
    name="long",
    title="One long text",
    about=(
        "llama-server runs with a batch in which the text fits, and cosines are the least against "
        "the first row, or `pooled`. The bound is the weights, as computed with, the KV cache in "
        "float16 and 600 MB."
    ),
    columns={
        "peer": ("", ""),
        "seconds": ("seconds", ",.2f"),
        "times": ("times as long as jlocal", ".2f"),
        "cosine": ("cosine", ".6f"),
        "peak_mb": ("peak memory, MB", ",.0f"),
        "compute_type": ("weights", ""),
        "bound_mb": ("bound, MB", ",.0f"),
    },
    arguments=arguments,
    measure=tables,
    rounds=3,
)

if __name__ == "__main__":
    run(PART)
