"""How the vectors of a collection are made, which is the same for all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from jlocal.errors import CollectionError
from jlocal.printable import printable
from jlocal.terms import Argument

_MODEL = Argument("model")


@dataclass(frozen=True)
class Recipe:
    """What must be equal for vectors to be compared, and where the model was last seen.

    Attributes:
        model: its name.
        model_path: where its file was when something was last indexed.
        model_sha256: of the file, in hexadecimal.
        pooling: "last", "mean" or "cls".
        prompt: the prefix of every text.
        dimensions: length of the vectors.
        precision: how vectors are stored; always "float32".
        compute_type: how the first vectors were computed; "stored" and "bfloat16" may be mixed.
        chunk: the most tokens in a chunk; None keeps each text whole.
        overlap: how many tokens of a chunk's end come again in the next.
        fields: of records in JSON lines and CSV files.

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

    def to_settings(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def check_same(self, other: Recipe, collection: str) -> None:
        """Raise CollectionError where vectors of `other` cannot be mixed with those of this."""
        for name, what in _MUST_BE_EQUAL.items():
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise CollectionError(
                    f"{collection} was made with {what.format(_said(ours))}, and "
                    f"{what.format(_said(theirs))} cannot be mixed in; index into another file"
                )

    def check_model(self, name: str, sha256: str, collection: str) -> None:
        """Raise CollectionError unless this is the model that made the vectors."""
        if sha256 != self.model_sha256:
            raise CollectionError(
                f"{collection} was made with {printable(self.model)} (sha256 "
                f"{self.model_sha256[:12]}…), and {name} is another file (sha256 "
                f"{sha256[:12]}…); name the first one with {_MODEL}, or index into another "
                "collection",
                _MODEL,
            )

    def check_dimensions(self, most: int, collection: str) -> None:
        """Raise CollectionError unless a model of `most` dimensions can have made the vectors."""
        if self.dimensions > most:
            raise CollectionError(
                f"{collection} is damaged: its model has no {self.dimensions:,} dimensions; delete "
                "it and index again"
            )


_MUST_BE_EQUAL = {
    "pooling": "pooling {}",
    "prompt": "prompt {}",
    "dimensions": "{} dimensions",
    "precision": "precision {}",
    "chunk": "chunks of {} tokens",
    "overlap": "an overlap of {} tokens",
    "fields": "fields {}",
}


def _said(value: object) -> str:
    if value is None:
        return "any number of"
    if isinstance(value, tuple):
        return printable(", ".join(value)) or "none"
    return repr(value) if isinstance(value, str) else str(value)
