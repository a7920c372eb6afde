"""The vectors of a request as protocols write them, and the headers beside them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jlocal.server.embedding import Embedded
    from jlocal.vectors import Vectors

TRUNCATED_HEADER = "x-truncated-inputs"

# Embedding types of several APIs, and the precision of each.
PRECISIONS = {
    "float": "float32",
    "base64": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "binary": "binary",
    "ubinary": "ubinary",
}


def written(vectors: Vectors, embedding_type: str) -> list[object]:
    """Return vectors as JSON has them: lists, or little-endian float32 in base64."""
    if embedding_type == "base64":
        little = vectors.astype("<f4", copy=False)
        return [base64.b64encode(row.tobytes()).decode("ascii") for row in little]
    return list(vectors)


def truncation_headers(embedded: Embedded) -> dict[str, str]:
    """Return the header that says how many inputs were truncated; none where none was."""
    return {TRUNCATED_HEADER: str(embedded.truncated)} if embedded.truncated else {}
