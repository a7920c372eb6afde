"""From a jina-embeddings-v5-text checkpoint to GGUF files, without torch or transformers.

>>> from convert import convert
>>> convert("jinaai/jina-embeddings-v5-text-small", types=["Q8_0"], output="models")
[PosixPath('models/jina-embeddings-v5-text-small-retrieval-Q8_0.gguf')]
"""

from __future__ import annotations

from convert.pipeline import Progress, convert

__all__ = ["Progress", "convert"]
