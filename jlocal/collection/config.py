"""The config of a collection: how all of its vectors are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jlocal.errors import CollectionError, OtherConfigError
from jlocal.filenames import portable
from jlocal.printable import printable
from jlocal.terms import Argument

_MODEL, _REBUILD = Argument("model"), Argument("rebuild", True)


@dataclass(frozen=True)
class CollectionConfig:
    """The settings that vectors must share to be comparable, and the model's last known path.

    Attributes:
        model: its name.
        model_path: path of its file at the last indexing.
        model_sha256: of the file, in hexadecimal.
        pooling: "last", "mean" or "cls".
        prompt: the prefix of every text.
        dimensions: length of the vectors.
        precision: how vectors are stored; always "float32".
        compute_type: how the first vectors were computed, as in `Embedder`; others may follow.
        chunk: the most tokens in a chunk; None keeps each text whole.
        overlap: how many tokens of a chunk's end the next chunk repeats.
        headings: whether the headings above a chunk are embedded with it.
        fields: the fields to embed of records in JSON lines and CSV files.

    """

    model: str
    model_path: str
    model_sha256: str
    pooling: str
    prompt: str
    dimensions: int
    precision: str
    compute_type: str
    chunk: int | None
    overlap: int
    fields: tuple[str, ...]
    headings: bool = False

    def to_settings(self) -> dict[str, Any]:
        """Return the config as JSON values."""
        return asdict(self) | {"model_path": portable(self.model_path)}

    def check_same(self, other: CollectionConfig, collection: Path) -> None:
        """Raise OtherConfigError if vectors of `other` cannot be mixed with this config's."""
        for name, what in _MUST_BE_EQUAL.items():
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise OtherConfigError(
                    f"{collection} was made with {what(ours)}, and {what(theirs)} cannot be mixed "
                    f"in; index into another collection, or rebuild this one with {_REBUILD}",
                    _REBUILD,
                    path=collection,
                )

    def check_model(self, name: str, sha256: str, collection: Path) -> None:
        """Raise OtherConfigError unless this is the model that made the vectors."""
        if sha256 != self.model_sha256:
            raise OtherConfigError(
                f"{collection} was made with {printable(self.model)} (sha256 "
                f"{self.model_sha256[:12]}…), and {name} is another file (sha256 "
                f"{sha256[:12]}…); name the first one with {_MODEL}, or index into another "
                "collection",
                _MODEL,
                path=collection,
            )

    def check_dimensions(self, most: int, collection: Path) -> None:
        """Raise CollectionError unless a model of `most` dimensions can have made the vectors."""
        if self.dimensions > most:
            raise CollectionError(
                f"{collection} is damaged: its model has no {self.dimensions:,} dimensions; delete "
                "it and index again",
                path=collection,
            )


def _said(value: object) -> str:
    if value is None:
        return "any number of"
    if isinstance(value, tuple):
        return printable(", ".join(value)) or "none"
    return repr(value) if isinstance(value, str) else str(value)


_MUST_BE_EQUAL: dict[str, Callable[[object], str]] = {
    "pooling": lambda value: f"pooling {_said(value)}",
    "prompt": lambda value: f"prompt {_said(value)}",
    "dimensions": lambda value: f"{_said(value)} dimensions",
    "precision": lambda value: f"precision {_said(value)}",
    "chunk": lambda value: f"chunks of {value} tokens" if value else "whole texts",
    "overlap": lambda value: f"an overlap of {_said(value)} tokens",
    "fields": lambda value: f"fields {_said(value)}",
}
