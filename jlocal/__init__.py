"""jina-embeddings-v5-text on your own machine, offline, through llama.cpp.

>>> from jlocal import Embedder
>>> model = Embedder("v5-small-retrieval-Q8_0.gguf")
>>> model.encode_query("Which planet is known as the Red Planet?").shape
(1024,)
"""

from importlib import import_module

from jlocal._version import __version__
from jlocal.errors import (
    ArgumentError,
    CollectionError,
    HubError,
    IgnoredArgumentWarning,
    JlocalError,
    MigrationWarning,
    ModelError,
    OutputError,
    Overloaded,
    TextError,
    TextTooLongError,
    TokenizerWarning,
    TruncationWarning,
)

# `python -m jlocal` runs this file while the current folder is on the search path, so it imports
# nothing that Python has not loaded already: neither `__future__` nor `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from jlocal.collection.collection import Collection
    from jlocal.collection.database.catalog import StoredDocument
    from jlocal.collection.database.compact import Compaction
    from jlocal.collection.index.report import Report
    from jlocal.collection.search.hits import Hit
    from jlocal.embed.embedder import Embedder

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
    "Overloaded",
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
    "Compaction": "jlocal.collection.database.compact",
    "Embedder": "jlocal.embed.embedder",
    "Hit": "jlocal.collection.search.hits",
    "Report": "jlocal.collection.index.report",
    "StoredDocument": "jlocal.collection.database.catalog",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
