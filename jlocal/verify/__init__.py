"""Verifying the vectors of a model file against its checkpoint or another file.

>>> from jlocal.verify import verify
>>> report = verify("models/v5-small-retrieval-Q4_K_M.gguf", "models/v5-small-retrieval-F16.gguf")
>>> print(report.table())
"""

from jlocal.verify.report import Report
from jlocal.verify.run import save_reference, verify
from jlocal.verify.texts import Text, default_texts, read_texts

__all__ = ["Report", "Text", "default_texts", "read_texts", "save_reference", "verify"]
