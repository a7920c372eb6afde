"""Install jlocal, make model files, and then index the sample notes and search them."""

from __future__ import annotations

import os
import tempfile
import time

from environment import BINARIES, install, run, say

QUESTION = "what did we decide about backups"
JLOCAL = BINARIES / "jlocal"
MODEL = "demo/models/jlocal-starter-text-matching-Q8_0.gguf"


def model_files() -> None:
    """Merge an adapter of the starter model into its backbone, and use the result."""
    say(
        "\nThe model that comes with jlocal has the layout of jina-embeddings-v5-text: a backbone "
        "and four\nLoRA adapters. One is merged, and written in two types:"
    )
    run(
        JLOCAL, "convert", "starter/jlocal-starter", "--task", "text-matching",
        "--to", "F16", "--to", "Q8_0", "--force", "-o", "demo/models",
    )  # fmt: skip
    run(JLOCAL, "similar", "-m", MODEL, "a cat", "a kitten", "a stock exchange")


def first_minute() -> None:
    """Index the sample notes and search them, with the model that comes with jlocal."""
    say("\nSome notes are indexed and searched, with its file for searches:")
    run(JLOCAL, "index", "examples/notes")
    run(JLOCAL, "search", "-n", "3", *QUESTION.split())


def main() -> None:
    """Run all steps, with a home folder of its own: the user's collections do not change."""
    install()
    start = time.monotonic()
    os.environ.pop("JLOCAL_DATABASE", None)
    os.environ["JLOCAL_MODEL"] = "starter"
    model_files()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JLOCAL_HOME"] = folder
        first_minute()
    seconds = time.monotonic() - start
    say(
        f"\nDone, {seconds:.0f} s after the install, and this index is deleted. For your own notes:"
        f"\n    {JLOCAL} index FOLDER\n    {JLOCAL} search YOUR QUESTION"
    )


if __name__ == "__main__":
    main()
