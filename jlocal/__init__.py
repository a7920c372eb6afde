"""jina-embeddings-v5-text on your own machine, offline, through llama.cpp.

>>> from jlocal import Embedder
>>> model = Embedder("v5-small-retrieval-Q8_0.gguf")
>>> model.encode_query("Which planet is known as the Red Planet?").shape
(1024,)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jlocal.errors import (
    ArgumentError,
    HubError,
    JlocalError,
    ModelError,
    OutputError,
    TextError,
    TextTooLongError,
    TruncationWarning,
)

if TYPE_CHECKING:
    from jlocal.embedder import Embedder

__version__ = "0.1.0"
__all__ = [
    "ArgumentError",
    "Embedder",
    "HubError",
    "JlocalError",
    "ModelError",
    "OutputError",
    "TextError",
    "TextTooLongError",
    "TruncationWarning",
    "__version__",
]


def __getattr__(name: str) -> object:
    # Embedder brings numpy and llama.cpp; `import jlocal` alone should cost milliseconds.
    if name == "Embedder":
        from jlocal.embedder import Embedder

        return Embedder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
