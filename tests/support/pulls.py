"""Repositories for tests of `jlocal pull`, and the output of `jlocal`."""

from __future__ import annotations

import json
from collections.abc import Callable

SMALL = "jinaai/jina-embeddings-v5-text-small-retrieval"
NANO = "jinaai/jina-embeddings-v5-text-nano"
OTHER = "somebody/embedder"
NAME, FILE = "small-retrieval:Q8_0", "v5-small-retrieval-Q8_0.gguf"

Run = Callable[..., tuple[int, str, str]]


def fails(done: tuple[int, str, str]) -> str:
    """Return the one line of a failure."""
    status, out, err = done
    assert (status, out) == (1, ""), err
    lines = [line for line in err.splitlines() if "; licence " not in line]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    return lines[0]


def listed(jlocal: Run) -> dict[str, dict]:
    """Return the listed facts of each downloaded model, by its name."""
    status, out, err = jlocal("list", "--json")
    assert (status, err) == (0, "")
    return {model["name"]: model for model in json.loads(out) if model["source"] != "jlocal"}
