"""From a jina-embeddings-v5-text checkpoint to GGUF files, without torch or transformers.

>>> from convert import convert
>>> convert("jinaai/jina-embeddings-v5-text-small", types=["Q8_0"], output="models")
[PosixPath('models/jina-embeddings-v5-text-small-retrieval-Q8_0.gguf')]
>>> from convert import quantize
>>> quantize("models/small-retrieval-F16.gguf", types=["Q4_K_M"], output="models")
[PosixPath('models/small-retrieval-Q4_K_M.gguf')]
"""

from __future__ import annotations

from convert.pipeline import convert
from convert.progress import Progress
from convert.quantization import quantize

__all__ = ["Progress", "convert", "quantize"]
