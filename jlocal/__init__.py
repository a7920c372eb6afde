"""jina-embeddings-v5-text on your own machine, offline, through llama.cpp.

>>> from jlocal import Embedder
>>> model = Embedder("v5-small-retrieval-Q8_0.gguf")
>>> model.encode_query("Which planet is known as the Red Planet?").shape
(1024,)
"""

from importlib import import_module

from jlocal.errors import (
    ArgumentError,
    CollectionError,
    HubError,
    IgnoredArgumentWarning,
    JlocalError,
    MigrationWarning,
    ModelError,
    OutputError,
    TextError,
    TextTooLongError,
    TokenizerWarning,
    TruncationWarning,
)

# `python -m jlocal` runs this file while the current folder is on the search path, so it imports
# nothing that Python has not loaded already: neither `__future__` nor `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from jlocal.collection.catalog import StoredDocument
    from jlocal.collection.collection import Collection
    from jlocal.collection.compact import Compaction
    from jlocal.collection.hits import Hit
    from jlocal.collection.report import Report
    from jlocal.embedder import Embedder

__version__ = "0.1.0"
__all__ = [
    "ArgumentError",
    "Collection",
    "CollectionError",
    "Compaction",
    "Embedder",
    "Hit",
    "HubError",
    "IgnoredArgumentWarning",
    "JlocalError",
    "MigrationWarning",
    "ModelError",
    "OutputError",
    "Report",
    "StoredDocument",
    "TextError",
    "TextTooLongError",
    "TokenizerWarning",
    "TruncationWarning",
    "__version__",
]


# These bring numpy and llama.cpp; `import jlocal` alone should cost milliseconds.
_LAZY = {
    "Collection": "jlocal.collection.collection",
    "Compaction": "jlocal.collection.compact",
    "Embedder": "jlocal.embedder",
    "Hit": "jlocal.collection.hits",
    "Report": "jlocal.collection.report",
    "StoredDocument": "jlocal.collection.catalog",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
