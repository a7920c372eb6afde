"""The command llm: embedding models of this machine, as a plug-in.

Each model has two names: `jlocal/NAME` for documents and `jlocal/NAME:query` for queries, since llm
does not say which of both it embeds. The files of `jlocal export` name the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from jlocal.extras import importing

with importing("llm", "jlocal.integrations.llm needs"):
    import llm


class JlocalModel(llm.EmbeddingModel):
    """One side of a model; it shares a loaded model."""

    # How many texts llm reads at a time; jlocal plans its batches by tokens.
    batch_size = 512

    def __init__(self, name: str, *, is_query: bool = False) -> None:
        """Name a model; the first text loads it."""
        self._name, self._is_query = name, is_query
        self.model_id = f"jlocal/{name}" + (":query" if is_query else "")

    def embed_batch(self, items: Iterable[str | bytes]) -> Iterator[list[float]]:
        """Embed texts."""
        # llm loads its plug-ins at each start.
        from jlocal.integrations.shared import SharedModel

        model = SharedModel(self._name)
        texts = [item.decode() if isinstance(item, bytes) else item for item in items]
        vectors = model.queries(texts) if self._is_query else model.documents(texts)
        yield from vectors.tolist()


@llm.hookimpl
def register_embedding_models(register: Callable[..., None]) -> None:
    """Register the models of this machine."""
    from jlocal.errors import ModelError
    from jlocal.models import names
    from jlocal.models.profile import read_profile
    from jlocal.printable import printable

    for name in names.local_names():
        try:
            profile = read_profile(names.resolve(name))
        except ModelError:
            continue  # Other models can still be used; `jlocal list` shows this one.
        alias = f"jlocal/{printable(profile.name)}"
        register(JlocalModel(name), aliases=(alias,))
        register(JlocalModel(name, is_query=True), aliases=(f"{alias}:query",))
