"""Add texts of a program that are in no file."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jlocal import arguments
from jlocal.arguments import check_texts, no_text
from jlocal.collection.chunking.chunks import Chunk
from jlocal.collection.chunking.markup import outline_of
from jlocal.collection.chunking.splitter import Splitter
from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.metadata import Scalar, checked
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of, digest_of_passage
from jlocal.collection.location import is_id
from jlocal.embed.embedder import Embedder
from jlocal.errors import ArgumentError, TextError
from jlocal.progress import OnTexts
from jlocal.vectors import Floats

# Texts that are embedded and written together.
_TEXTS, _CHARACTERS = 512, 400_000
_LONGEST_ID = 1024
# Most texts with headings are Markdown, and plain text is Markdown too.
_KIND, _NAME = "text", "text.md"


@dataclass(frozen=True)
class AddedText:
    """A text to add.

    Attributes:
        id: the key to find and replace it.
        text: the text.
        metadata: its metadata.

    """

    id: str
    text: str
    metadata: dict[str, Scalar] | None = None


def added_texts(
    texts: str | Iterable[str],
    ids: str | Iterable[str] | None = None,
    metadata: Mapping[str, object] | Iterable[Mapping[str, object] | None] | None = None,
) -> list[AddedText]:
    """Check all texts to add, before anything is embedded.

    The arguments are those of `Collection.add`.

    Raises:
        ArgumentError: the numbers of texts, ids and metadata differ, an id is invalid or repeated,
            or metadata is not JSON.
        TextError: a text is not text, or empty.

    """
    listed = [texts] if isinstance(texts, str) else list(check_texts(texts))
    for index, text in enumerate(listed):
        check_text(text, index)
    if ids is None:
        names = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in listed]
    else:
        names = arguments.listed("ids", ids)
        _check_ids(names)
    if metadata is None or isinstance(metadata, Mapping):
        known = [metadata] * len(listed)
    elif hasattr(metadata, "columns"):
        raise ArgumentError(
            'metadata is a table; pass its rows: table.to_dict("records")', argument="metadata"
        )
    else:
        known = list(metadata)
    for what, values in (("ids", names), ("metadata", known)):
        if len(values) != len(listed):
            raise ArgumentError(f"{len(values):,} {what} for {len(listed):,} texts", argument=what)
    return [
        AddedText(id, text, None if values is None else checked(values))
        for id, text, values in zip(names, listed, known, strict=True)
    ]


def check_text(text: object, index: int | None) -> None:
    """Raise TextError unless this is a text that can be added."""
    if not isinstance(text, str):
        raise TextError(no_text(text), index)
    if not text.strip():
        raise TextError("is empty", index)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise TextError("has a lone surrogate; decode it from its bytes again", index) from None


def check_id(id: object) -> None:
    """Raise ArgumentError unless this can be the id of an added text."""
    if not isinstance(id, str):
        raise ArgumentError(
            f"the id {id!r:.80} is of type {type(id).__name__}; pass str", argument="ids"
        )
    if not id or len(id) > _LONGEST_ID or "\0" in id:
        raise ArgumentError(
            f"{id[:80]!r} cannot be an id, which is a text of 1 to {_LONGEST_ID:,} "
            "characters without NUL",
            argument="ids",
        )
    # The id of a file is its absolute path.
    if not is_id(id):
        raise ArgumentError(
            f"{id[:80]!r} cannot be an id, because it is an absolute path", argument="ids"
        )
    try:
        id.encode("utf-8")
    except UnicodeEncodeError:
        raise ArgumentError(
            f"{id[:80]!r} cannot be an id: it has a lone surrogate", argument="ids"
        ) from None


def _check_ids(ids: Sequence[object]) -> None:
    for id in ids:
        check_id(id)
    twice = [id for id, count in Counter(ids).items() if count > 1]
    if twice:
        raise ArgumentError(f"the id {str(twice[0])[:80]!r} comes twice", argument="ids")


def add(
    store: Store,
    model: Embedder,
    config: CollectionConfig,
    texts: Iterable[AddedText],
    on_texts: OnTexts | None = None,
) -> None:
    """Embed texts and write them, a few hundred in a transaction.

    A text with a known id replaces the old one; passages that are already embedded are not embedded
    again.

    Args:
        store: the collection, locked for this indexer.
        model: the one that the config names.
        config: how texts become vectors.
        texts: the texts to add.
        on_texts: called with the passages and tokens done since the last call.

    Raises:
        TextError: a text cannot be embedded. Texts of earlier transactions stay.
        CollectionError, ModelError: an error that stops the whole run.

    """
    adder = _Adder(store, model, config, on_texts)
    first = 0
    for part in _parts(texts):
        adder.write(part, first)
        first += len(part)


def _parts(texts: Iterable[AddedText]) -> Iterator[list[AddedText]]:
    part: list[AddedText] = []
    characters = 0
    for text in texts:
        part.append(text)
        characters += len(text.text)
        if len(part) >= _TEXTS or characters >= _CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part


class _Adder:
    def __init__(
        self, store: Store, model: Embedder, config: CollectionConfig, on_texts: OnTexts | None
    ) -> None:
        self._store, self._model, self._config = store, model, config
        self._on_texts = on_texts
        self._splitter = Splitter(
            config.chunk,
            config.overlap,
            config.headings,
            lambda text: len(model.tokenize(text, config.prompt)),
        )

    def write(self, texts: Sequence[AddedText], first: int) -> None:
        """Embed and write some texts together; `first` is the position of the first text."""
        pending: dict[bytes, tuple[int, Chunk]] = {}
        entries = []
        for index, item in enumerate(texts, first):
            digest = digest_of(item.text, _KIND)
            chunks = [] if self._store.has_content(digest) else self._chunks(item.text, index)
            for _, chunk, passage in chunks:
                if passage not in pending and not self._store.has_passage(passage):
                    pending[passage] = index, chunk
            entries.append(
                Entry(item.id, None, digest, chunks, is_added=True, metadata=item.metadata)
            )
        # In one transaction: each waits for the disk.
        self._store.write(Batch(self._embed(pending), entries))

    def _chunks(self, text: str, index: int) -> list[tuple[int, Chunk, bytes]]:
        try:
            chunks = list(self._splitter.split(text, outline_of(text, _NAME)))
        except TextError as error:
            raise error.at(index) from None
        return [(0, chunk, digest_of_passage(chunk.heading, chunk.text)) for chunk in chunks]

    def _embed(
        self, pending: Mapping[bytes, tuple[int, Chunk]]
    ) -> dict[bytes, tuple[str, str, Floats]]:
        """Return the passages by their digests; after an error, write the finished ones."""
        vectors = self._model.stream(
            (self._splitter.embedded(chunk) for _, chunk in pending.values()),
            prompt=self._config.prompt,
            truncate_dim=self._config.dimensions,
            errors="return",
            on_texts=self._on_texts,
        )
        passages: dict[bytes, tuple[str, str, Floats]] = {}
        try:
            with contextlib.closing(vectors):
                for (digest, (index, chunk)), vector in zip(pending.items(), vectors, strict=True):
                    if isinstance(vector, TextError):
                        raise vector.at(index)
                    floats = vector.astype(np.float32, copy=False)
                    passages[digest] = chunk.heading, chunk.text, floats
        except BaseException:
            # Vectors that were computed before an error or an interruption are kept.
            if passages:
                self._store.write(Batch(passages=passages))
            raise
        return passages
