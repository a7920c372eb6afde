"""Conversion of jina-embeddings-v5-text checkpoints to GGUF, without torch or transformers.

>>> from jlocal_convert import convert
>>> convert("jinaai/jina-embeddings-v5-text-small", types=["Q8_0"], output="models")
[PosixPath('models/jina-embeddings-v5-text-small-retrieval-Q8_0.gguf')]
>>> from jlocal_convert import quantize
>>> quantize("models/small-retrieval-F16.gguf", types=["Q4_K_M"], output="models")
[PosixPath('models/small-retrieval-Q4_K_M.gguf')]
"""

from __future__ import annotations

from jlocal_convert.export.run import convert
from jlocal_convert.progress import Progress
from jlocal_convert.quantization.run import quantize

__all__ = ["Progress", "convert", "quantize"]
