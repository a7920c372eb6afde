"""What llama.cpp says and computes here, as JSON, in a process of its own.

A llama.cpp that was compiled for another CPU ends the process that uses it without a word, and
`jlocal doctor` has to live to say so.
"""

from __future__ import annotations

import json
import sys
from typing import Any

TEXT = "Which planet is known as the Red Planet?"
_ANOTHER = "An embedding is a vector that stands for a text, so that near ones mean alike. " * 8


def vectors(model: str, text: str = TEXT) -> dict[str, Any]:
    """Embed a text as jlocal does, and once more with llama.cpp's own pooling, among others.

    Raises:
        ModelError: the file cannot be found, read, or used for embeddings.

    """
    from jlocal.embed.embedder import Embedder

    with Embedder(model, compute_type="stored") as embedder:
        ours = embedder.encode(text)
    with Embedder(model, compute_type="stored", capture=False) as embedder:
        theirs = embedder.encode([_ANOTHER, text])[1]
    return {"ours": ours.tolist(), "theirs": theirs.tolist()}


def _main() -> None:
    from jlocal.errors import JlocalError

    try:
        from jlocal.llama.build import build_info

        found = vectors(*sys.argv[1:]) if len(sys.argv) > 1 else build_info()
    except (JlocalError, ImportError, OSError, RuntimeError) as error:
        sys.exit(str(error))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    _main()
