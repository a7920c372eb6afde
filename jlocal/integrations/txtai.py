"""txtai: `JlocalVectors`, a method of `txtai.Embeddings`.

Embeddings(method="jlocal.integrations.txtai.JlocalVectors", path="starter")
"""

from __future__ import annotations

from collections.abc import Sequence

from jlocal.extras import importing
from jlocal.integrations.shared import SharedModel
from jlocal.vectors import Vectors as Array

with importing("txtai", "jlocal.integrations.txtai needs"):
    from txtai.vectors import Vectors


class JlocalVectors(Vectors):
    """Embeds data as documents and searches as queries; it shares a loaded model.

    The configuration has the model's name or path as `path`, and the other arguments of `Embedder`
    as `vectors`: `{"truncate_dim": 64, "on_long": "truncate"}`. The model is loaded on first use.
    """

    def loadmodel(self, path: str | None) -> SharedModel:
        """Name a model; nothing is loaded."""
        shared = SharedModel.of(type(self).__name__, path, self.config.get("vectors") or {})
        # An index is saved with its configuration: later queries need the model of its data.
        self.config["path"] = shared.model
        return shared

    def encode(self, data: Sequence[str], category: str | None = None) -> Array:
        """Embed texts, to (n, d) float32; those of the category "data" are documents."""
        shared: SharedModel = self.model
        return shared.documents(data) if category == "data" else shared.queries(data)
