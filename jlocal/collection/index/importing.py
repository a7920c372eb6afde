"""Import texts with vectors that were computed elsewhere, such as on a cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jlocal.collection.chunking.chunks import Chunk, whole
from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.metadata import Scalar, checked
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of, digest_of_passage, is_sha256
from jlocal.collection.index.adding import check_id, check_text
from jlocal.collection.index.report import OnFailure
from jlocal.collection.location import is_id
from jlocal.embed.embedder import Embedder
from jlocal.errors import ArgumentError, CollectionError, TextError
from jlocal.inputs.corpus import Fields, corpus_files, read_shard, shards
from jlocal.inputs.documents import Document, Unreadable
from jlocal.inputs.vector_files import Block, open_vectors, vector_files
from jlocal.models import names
from jlocal.terms import Argument
from jlocal.vectors import Floats, Vectors, normalize

OnRows = Callable[[int], None]

_MODEL, _TEXTS = Argument("model"), Argument("texts")
_ROWS = 512
# Vectors of this many texts are computed again, and must be alike: other machines, and vectors that
# were rounded to int8, differ by far less.
_PROBES, _ALIKE = 8, 0.99
_KIND = "text"


@dataclass(frozen=True)
class ImportOptions:
    """Where ids, texts and vectors are.

    Attributes:
        texts: a corpus of the texts by id, as a path or URI; None if they are beside the vectors.
        id: field of the ids, in the vectors and in the corpus.
        text: field of the texts.
        vector: column of the vectors; None takes "vector" or "embedding".

    """

    texts: str | None = None
    id: str = "id"
    text: str = "text"
    vector: str | None = None


@dataclass(frozen=True)
class Sources:
    """Files of vectors that were made in one way.

    Attributes:
        files: the files.
        options: where ids, texts and vectors are in them.
        made: how the vectors were made, as far as the files say.
        dimensions: of their vectors.

    """

    files: Sequence[Path]
    options: ImportOptions
    made: dict[str, Any]
    dimensions: int

    @property
    def model_sha256(self) -> str | None:
        """SHA-256 of the model's file; None if the files do not say it."""
        digest = self.made.get("model_sha256")
        return digest if is_sha256(digest) else None

    @property
    def prompt(self) -> str | None:
        """The prompt of the vectors; None if the files do not say it."""
        prompt = self.made.get("prompt")
        return prompt if isinstance(prompt, str) else None

    def model_file(self) -> Path | None:
        """Find the model that made the vectors on this machine."""
        return names.file_of_sha256(self.model_sha256) if self.model_sha256 else None

    def check_model(self, model: Path, sha256: str) -> None:
        """Raise CollectionError unless this is the model that made the vectors."""
        if self.model_sha256 not in (None, sha256):
            raise CollectionError(
                f"the vectors in {self.files[0]} were made with {self.made.get('model')!s:.80} "
                f"(sha256 {self.model_sha256[:12]}…), and {model} is another file (sha256 "
                f"{sha256[:12]}…); name the first one with {_MODEL}",
                _MODEL,
                path=self.files[0],
            )


@dataclass(frozen=True)
class ImportedText:
    """A text with its vector (d,) of unit length."""

    id: str
    text: str
    vector: Floats
    metadata: dict[str, Scalar] = field(default_factory=dict)


def read_sources(paths: Sequence[Path], options: ImportOptions) -> Sources:
    """Look into all files before anything is written.

    Raises:
        ArgumentError: a file is missing, has no such column, or was made in another way than the
            first one, or the texts are missing.
        TextError: a file cannot be read.

    """
    files = vector_files(paths)
    first: dict[str, Any] | None = None
    dimensions = 0
    for file in files:
        with open_vectors(file, options.id, options.vector) as opened:
            made = dict(opened.made)
            block = next(opened.blocks, Block([], []))
            length = next((len(item) for item in block.vectors if item is not None), 0)
            if options.texts is None and block.ids and options.text not in block.columns:
                raise ArgumentError(
                    f"{file} has no texts in a column {options.text!r}; name the file that was "
                    f"embedded with {_TEXTS}",
                    _TEXTS,
                    argument="texts",
                )
        if made.get("precision") in ("binary", "ubinary"):
            raise ArgumentError(
                f"{file} has only signs; a collection needs whole vectors", argument="paths"
            )
        dimensions = dimensions or length
        first = made if first is None else first
        for key in ("model_sha256", "prompt"):
            if made.get(key) != first.get(key):
                raise ArgumentError(
                    f"{file} and {files[0]} differ in {key}; import them apart", argument="paths"
                )
    if not dimensions:
        raise ArgumentError(f"there is no vector in {files[0]}", argument="paths")
    return Sources(files, options, first or {}, dimensions)


def texts_of(sources: Sources, on_failure: OnFailure) -> Iterator[ImportedText]:
    """Read all texts with their vectors; report each row that is none."""
    seen: set[str] = set()
    for id, text, vector, columns in _rows(sources):
        try:
            if id in seen:
                raise TextError("its id comes twice")
            seen.add(id)
            if vector is None:
                raise TextError(str(columns.get("error") or "has no vector")[:500])
            if isinstance(text, TextError):
                raise text
            check_text(text, None)
            # Ids of texts are not absolute paths, which those of an exported collection are.
            name = id if is_id(id) else f"file:{id}"
            check_id(name)
            rest = {key: value for key, value in columns.items() if value is not None}
            rest.pop("error", None)
            yield ImportedText(name, str(text), _unit(vector, sources), checked(rest))
        except (ArgumentError, TextError) as error:
            reason = error.reason if isinstance(error, TextError) else error.message
            on_failure(Unreadable(id, reason))


def _unit(vector: Vectors, sources: Sources) -> Floats:
    if vector.shape != (sources.dimensions,):
        raise TextError(f"its vector has {vector.size:,} dimensions, not {sources.dimensions:,}")
    if vector.dtype == np.uint8:
        vector = vector.astype(np.int16) - 128
    elif vector.dtype.kind not in "fi":
        raise TextError(f"its vector is of type {vector.dtype}")
    floats = vector.astype(np.float32)
    if not np.isfinite(floats).all() or not floats.any():
        raise TextError("its vector has no direction: it is zero, or not finite")
    unit: Floats = normalize(floats[None])[0]
    return unit


_Row = tuple[str, object, "Vectors | None", dict[str, Any]]


def _rows(sources: Sources) -> Iterator[_Row]:
    options = sources.options
    texts = None if options.texts is None else _Texts(options.texts, options)
    for file in sources.files:
        with open_vectors(file, options.id, options.vector) as opened:
            for block in opened.blocks:
                inside = block.columns.pop(options.text, None)
                for index, (id, vector) in enumerate(zip(block.ids, block.vectors, strict=True)):
                    columns = {name: values[index] for name, values in block.columns.items()}
                    if texts is not None:
                        text: object = texts.find(id)
                    else:
                        text = inside[index] if inside else None
                    yield id, text, vector, columns


class _Texts:
    """The texts of a corpus by id; those of the vectors' order are held only for a moment."""

    def __init__(self, location: str, options: ImportOptions) -> None:
        self._location = location
        files = corpus_files(location)
        # `jlocal embed -i FILE` numbers the lines of a single file.
        self._is_numbered = len(files) == 1 and files[0].kind == "lines"
        # Its ids may also be places.
        fields = Fields(None if options.id == "id" else options.id, options.text)
        self._read = itertools.chain.from_iterable(
            read_shard(location, shard, fields) for shard in shards(location, files, 10_000)
        )
        self._ahead: dict[str, Document | Unreadable] = {}

    def find(self, id: str) -> str | TextError:
        key = self._key(id)
        while key not in self._ahead:
            item = next(self._read, None)
            if item is None:
                return TextError(f"has no text in {self._location}")
            self._ahead[self._key(item.id)] = item
        item = self._ahead.pop(key)
        return item.text if isinstance(item, Document) else TextError(item.reason)

    def _key(self, id: str) -> str:
        return id.rpartition(":")[2] if self._is_numbered else id


def probed(
    texts: Iterator[ImportedText], sources: Sources, model: Embedder, config: CollectionConfig
) -> Iterator[ImportedText]:
    """Compute the vectors of the first texts again, and return all texts if they are alike.

    Raises:
        CollectionError: another model or another prompt made the vectors, or they are not those of
            the texts.
        ArgumentError: there is no text with a vector.

    """
    first = list(itertools.islice(texts, _PROBES))
    if not first:
        raise ArgumentError(f"no row of {sources.files[0]} can be imported", argument="paths")
    # Headings were embedded with their passages, and are not in an export.
    if sources.made.get("headings") is not True:
        made = model.encode(
            [item.text for item in first], prompt=config.prompt, truncate_dim=config.dimensions
        )
        cosines = np.einsum("ij,ij->i", made, np.stack([item.vector for item in first]))
        worst = int(cosines.argmin())
        if not cosines[worst] >= _ALIKE:
            raise CollectionError(
                f"{first[worst].id}: the vector in the file is not the one that "
                f"{model.profile.path} gives for this text with the prompt {config.prompt!r} (the "
                f"cosine is {cosines[worst]:.2f}); name the model that made it with {_MODEL}, or "
                f"the right texts with {_TEXTS}",
                _MODEL,
                _TEXTS,
                path=sources.files[0],
            )
    return itertools.chain(first, texts)


def write_texts(store: Store, texts: Iterator[ImportedText], on_rows: OnRows) -> int:
    """Write texts with their vectors, a few hundred in a transaction; return how many."""
    count = 0
    while part := list(itertools.islice(texts, _ROWS)):
        batch = Batch()
        for item in part:
            chunk: Chunk = whole(item.text)
            digest = digest_of_passage("", chunk.text)
            batch.passages[digest] = ("", chunk.text, item.vector)
            batch.entries.append(
                Entry(
                    item.id,
                    None,
                    digest_of(item.text, _KIND),
                    [(0, chunk, digest)],
                    is_added=True,
                    metadata=item.metadata or None,
                )
            )
        store.write(batch)
        count += len(part)
        on_rows(len(part))
    return count
