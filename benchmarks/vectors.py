"""A GPU's vectors compared with the CPU's; `--device cpu` tries the same on the CPU.

python benchmarks/vectors.py --device cuda
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import peers
from page import Part, Table, run
from processes import in_child, say
from rounds import Entry, measure, rows
from workload import write_texts

import models

LENGTHS = [2] * 4 + [16] * 8 + [64] * 8 + [512] * 2


def tables(options: argparse.Namespace) -> Iterator[Table]:
    """Compare each type of file on texts of many lengths, one of them very long."""
    lengths = [*LENGTHS, options.longest]
    for kind in options.types:
        heading = f"{options.model}, {kind}"
        say(heading)
        gguf, _ = in_child(models.files, options.model, kind, options.folder)
        # All on the CPU comes first, which makes it the reference.
        entered = [Entry("jlocal", gguf, "cpu", options.longest)]
        entered += [
            Entry(name, gguf, options.device, options.longest)
            for name in ("jlocal", "jlocal_no_layers", "pooled", "llama_embed_longest")
        ]
        with tempfile.TemporaryDirectory() as scratch:
            texts = in_child(write_texts, gguf, [lengths] * (options.rounds + 1), Path(scratch))
            found = rows(measure(entered, texts, entered[0]))
        yield Table(
            heading, found, f"{len(lengths)} texts a round, the longest of {lengths[-1]:,}."
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--types", nargs="+", default=["BF16", "Q8_0"], help="types of the GGUF files"
    )
    parser.add_argument("--longest", type=int, default=4096, help="tokens of the longest text")
    parser.add_argument("--device", choices=peers.DEVICES, default="cuda")


PART = Part(
    name="vectors",
    title="Vectors of a GPU",
    about=(
        "The least cosine with jlocal's vectors on the CPU, of texts of 2 to some thousand tokens: "
        "hidden states captured with all layers on the GPU; with `--gpu-layers 0`, where llama.cpp "
        "still gives it large products; with llama.cpp's own pooling; `llama_cpp.Llama.embed`."
    ),
    columns={
        "peer": ("", ""),
        "cosine": ("cosine", ".6f"),
        "seconds": ("seconds", ".2f"),
        "times": ("times as long as the CPU", ".2f"),
    },
    arguments=arguments,
    measure=tables,
    rounds=1,
)

if __name__ == "__main__":
    run(PART)
