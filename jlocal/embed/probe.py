"""The child process of `jlocal doctor`: llama.cpp's build information and vectors, as JSON.

A llama.cpp that was compiled for another CPU crashes the process that uses it without a message,
and `jlocal doctor` must survive to report it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

TEXT = "Which planet is known as the Red Planet?"
_ANOTHER = "An embedding is a vector that stands for a text, so that near ones mean alike. " * 8


@dataclass(frozen=True)
class ProbeVectors:
    """The vectors of one text.

    Attributes:
        captured: the vector that jlocal computes.
        pooled: the vector by llama.cpp's own pooling, in a larger batch.
        fast: the vector in the compute type that "auto" takes here; None if that is "stored".
        compute_type: that type.

    """

    captured: list[float]
    pooled: list[float]
    fast: list[float] | None = None
    compute_type: str = "stored"


def vectors(model: str, text: str = TEXT) -> ProbeVectors:
    """Embed a text with the stored weights, with llama.cpp's pooling, and with the defaults.

    Raises:
        ModelError: the file cannot be found, read, or used for embeddings.

    """
    from jlocal.embed.embedder import Embedder

    with Embedder(model, compute_type="stored") as embedder:
        captured = embedder.encode(text)
    with Embedder(model, compute_type="stored", capture=False) as embedder:
        pooled = embedder.encode([_ANOTHER, text])[1]
    with Embedder(model) as embedder:
        chosen = embedder.compute_type
        fast = None if chosen == "stored" else embedder.encode(text).tolist()
    return ProbeVectors(captured.tolist(), pooled.tolist(), fast, chosen)


def _main() -> None:
    from jlocal.errors import JlocalError

    try:
        from jlocal.llama.build import build_info

        result = vectors(*sys.argv[1:]) if len(sys.argv) > 1 else build_info()
    except (JlocalError, ImportError, OSError, RuntimeError) as error:
        sys.exit(str(error))
    json.dump(vars(result), sys.stdout)


if __name__ == "__main__":
    _main()
