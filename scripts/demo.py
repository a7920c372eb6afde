"""Install jlocal and run its main job: merge an adapter, export GGUF files, embed, search."""

from __future__ import annotations

import time

from environment import BINARIES, install, run, say

JLOCAL = BINARIES / "jlocal"
MODEL = "demo/models/jlocal-starter-text-matching-Q8_0.gguf"


def main() -> None:
    """Do it all."""
    install("-e", ".")
    start = time.monotonic()
    say(
        "\nThe checkpoint of the starter model is in the layout of jina-embeddings-v5-text: "
        "a backbone and\nfour LoRA adapters. Merged and exported:"
    )
    run(
        JLOCAL, "convert", "starter/jlocal-starter", "--task", "text-matching",
        "--to", "F16", "--to", "Q8_0", "--force", "-o", "demo/models",
    )  # fmt: skip
    run(JLOCAL, "show", MODEL)
    run(JLOCAL, "similar", "-m", MODEL, "a cat", "a kitten", "a stock exchange")
    say(
        "\nIts retrieval adapter comes with jlocal as the model `starter`. It searches these pages:"
    )
    run(
        JLOCAL, "index", "README.md", "docs", "--include", "*.md",
        "-m", "starter", "-d", "demo/docs.db", "--chunk", "200",
    )  # fmt: skip
    question = "how do I install it for an NVIDIA GPU?"
    run(JLOCAL, "search", "-d", "demo/docs.db", "-n", "3", question)
    say(f"\nDone, {time.monotonic() - start:.1f} s after the install. The command is {JLOCAL}.")


if __name__ == "__main__":
    main()
