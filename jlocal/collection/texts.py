"""Add, read and delete the texts and documents of a collection from a program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from jlocal import arguments
from jlocal.arguments import listed, of_keywords
from jlocal.collection.database.batch import Batch
from jlocal.collection.database.catalog import StoredDocument, text_of
from jlocal.collection.database.excerpts import Excerpt, excerpt
from jlocal.collection.database.store import Store
from jlocal.collection.index.paths import absolute
from jlocal.collection.index.report import OnFailure
from jlocal.collection.index.resolve import ConfigOptions, made_with, resolve_same_config
from jlocal.collection.indexed import IndexedCollection
from jlocal.errors import ArgumentError, EmptyCollectionError, MissingCollectionError
from jlocal.files import sha256_of
from jlocal.progress import OnTexts

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.collection.index.importing import OnRows

# More records, lines and characters than a document can have.
_MOST = 1 << 53


class ImportFields(TypedDict, total=False):
    """The columns of `Collection.import_vectors`."""

    id: str
    text: str
    vector: str | None


class TextCollection(IndexedCollection):
    """A collection whose documents can be added, read and deleted one by one."""

    def add(
        self,
        texts: str | Iterable[str],
        ids: str | Iterable[str] | None = None,
        metadata: Mapping[str, object] | Iterable[Mapping[str, object] | None] | None = None,
        *,
        chunk: int | Literal["auto"] | None = "auto",
        wait: float = 10,
        on_texts: OnTexts | None = None,
    ) -> list[str]:
        """Add texts that are in no file.

        They are split into chunks as files are. A text with a known id replaces the old text and
        its metadata; passages that are already embedded are not embedded again. All arguments are
        checked before anything is embedded, and texts are written a few hundred at a time. Each
        call opens the file and waits for the disk, so pass many texts as one list.

        Args:
            texts: one text, or several.
            ids: a different id for each text, not an absolute path; if None, ids are made of the
                content, so that equal texts are one document.
            metadata: of each text, or one for all texts: names with text, numbers, True, False or
                None, at most 64 KiB as JSON.
            chunk: as in `index`: how a new collection splits texts.
            wait: how many seconds to wait for another indexer of this collection.
            on_texts: called with the passages and tokens done since the last call.

        Returns:
            The ids, in the order of the texts.

        Raises:
            ArgumentError: the arguments do not match, or an id is an absolute path.
            TextError: a text is not a string, is empty, or cannot be embedded; texts that were
                written before stay.
            CollectionError: the file cannot be written, is in use, or was made in another way.
            ModelError: the model cannot be loaded, or cannot compute.

        """
        from jlocal.collection.index.adding import add, added_texts

        listed = added_texts(texts, ids, metadata)
        with self._indexing(wait, create=True) as store:
            model, config = self._settled(store, ConfigOptions(chunk=chunk))
            # While a reader is open, SQLite keeps its log: the next call need not begin another,
            # and waits for the disk once, when it commits.
            with self._readers.one():
                add(store, model, config, listed, self._until_closed(on_texts))
        return [item.id for item in listed]

    def import_vectors(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        texts: str | Path | None = None,
        wait: float = 10,
        on_failure: OnFailure | None = None,
        on_rows: OnRows | None = None,
        **fields: Unpack[ImportFields],
    ) -> int:
        """Add texts whose vectors were computed elsewhere, such as on a cluster.

        Each row becomes a text of one passage, with its id; ids that are absolute paths, as in an
        export of files, get `file:` in front. Other columns with texts and numbers become its
        metadata. The model is that of the collection, the one that was named, or the installed one
        that the files name by its SHA-256. The vectors of the first texts are computed again and
        compared, so that vectors of another model or of other texts are refused.

        Args:
            paths: .parquet files, folders with such files, and .npz files.
            texts: a corpus with the texts, in Parquet, JSON lines or lines of text, if they are not
                beside the vectors; their ids are compared.
            wait: how many seconds to wait for another indexer of this collection.
            on_failure: called with each row that has no text, no vector or no id that can be used.
            on_rows: called with the rows that were written since the last call.
            **fields: `id`, `text` and `vector`: columns other than "id", "text", and "vector" or
                "embedding".

        Returns:
            How many texts were written.

        Raises:
            ArgumentError: a file or column is missing.
            CollectionError: the vectors are of another model, or of other texts; or the file cannot
                be written, is in use, or was made in another way.
            ModelError: the model cannot be loaded.
            TextError: a file cannot be read.

        """
        from jlocal.collection.index import importing

        location = None if texts is None else os.fspath(texts)
        options = of_keywords(
            importing.ImportOptions, "import_vectors", {"texts": location, **fields}
        )
        sources = importing.read_sources([*map(Path, listed("paths", paths))], options)
        made = self.made_with()
        if made is None and self._given is None:
            self._given = sources.model_file()
        model = self._load(made)
        sha256 = made.model_sha256 if made else sha256_of(model.profile.path)
        sources.check_model(model.profile.path, sha256)
        config = resolve_same_config(
            ConfigOptions(prompt=sources.prompt, truncate_dim=sources.dimensions),
            *(model, sha256, made, self.path),
        )
        rows = importing.probed(
            importing.texts_of(sources, on_failure or _ignore), sources, model, config
        )
        with self._indexing(wait, create=True) as store:
            if now := made_with(store):
                now.check_same(config, self.path)
                now.check_model(str(model.profile.path), sha256, self.path)
            if store.config() != config:
                store.set_config(config)
            count = importing.write_texts(store, rows, on_rows or _ignore)
            store.checkpoint()
        return count

    def delete(self, ids: str | Path | Iterable[str | Path], wait: float = 10) -> int:
        """Remove documents.

        The next `update` indexes files again that are still in their folders. The texts of removed
        documents are hidden from searches, and stay in the file until `compact`.

        Args:
            ids: ids of added texts, and paths of files; unknown ids are ignored.
            wait: how many seconds to wait for another indexer of this collection.

        Returns:
            How many documents were removed.

        Raises:
            CollectionError: there is no such collection, it cannot be written, or is in use.

        """
        listed = arguments.listed("ids", ids)
        for id in listed:
            _check_id(id)
        with self._indexing(wait, create=False) as store:
            removed = dict.fromkeys(item.id for id in listed if (item := _find(store, id)))
            with self._readers.one():  # as in `add`
                store.write(Batch(removed=list(removed)))
        return len(removed)

    def get(self, id: str | Path) -> StoredDocument | None:
        """Read a document with its text; None if there is no such document.

        Args:
            id: of an added text, or the path of a file.

        Raises:
            CollectionError: there is no such collection, or it cannot be read.

        """
        _check_id(id)
        with self._unless_closed(), self._readers.one() as store, store.snapshot():
            document = _find(store, id)
            return document and replace(document, text=text_of(store.iter_chunks(document.id)))

    def read(
        self, id: str | Path, record: int = 0, start: int = 0, length: int = 4000
    ) -> Excerpt | None:
        """Read a part of a document, such as the text around a hit; None if there is no document.

        The text is that of the collection, so that `text[hit.start - start :][: len(hit.text)]` is
        the passage of a hit, even if its file was changed or deleted meanwhile.

        Args:
            id: of an added text, or the path of a file.
            record: as in `Hit.record`; beyond the last one the text is empty.
            start: position of the first character, as in `Hit.start`.
            length: the most characters.

        Raises:
            ArgumentError: a number is negative.
            CollectionError: there is no such collection, or it cannot be read.

        """
        _check_id(id)
        record, start, length = (
            min(arguments.whole(name, value, 0), _MOST)
            for name, value in (("record", record), ("start", start), ("length", length))
        )
        with self._unless_closed(), self._readers.one() as store, store.snapshot():
            document = _find(store, id)
            return excerpt(store, document.id, record, start, length) if document else None

    def find_line(
        self, id: str | Path, line: int, record: int | None = None
    ) -> tuple[int, int] | None:
        """Find a line of a document for `read`.

        Args:
            id: of an added text, or the path of a file.
            line: from 1. In HTML and PDF files, it counts lines of the text that was read.
            record: the record to look in, as for a page of a PDF file; None looks in all.

        Returns:
            The record, and the position of the line's first character; None if the document has no
            text in this line or after it.

        Raises:
            ArgumentError: the line is not a positive number.
            CollectionError: there is no such collection, or it cannot be read.

        """
        _check_id(id)
        line = min(arguments.whole("line", line, 1), _MOST)
        if record is not None:
            record = min(arguments.whole("record", record, 0), _MOST)
        with self._unless_closed(), self._readers.one() as store, store.snapshot():
            document = _find(store, id)
            chunk = store.chunk_at_line(document.id, line, record) if document else None
        if not chunk:
            return None
        before = chunk.text.split("\n")[: max(0, line - chunk.first_line)]
        return chunk.record, chunk.start + sum(len(part) + 1 for part in before)

    def documents(self) -> Iterator[StoredDocument]:
        """Yield all documents, files and added texts, without their texts.

        The collection may change meanwhile; documents that are added or removed then may be left
        out.

        Raises:
            CollectionError: there is no such collection, or it cannot be read.

        """
        last = 0
        while True:
            with self._unless_closed(), self._readers.one() as store:
                documents, last = store.documents(last)
            if not documents:
                return
            yield from documents

    def __len__(self) -> int:
        """Return the number of documents; 0 if nothing was indexed yet."""
        try:
            with self._unless_closed(), self._readers.one() as store:
                return store.count_documents()
        except (EmptyCollectionError, MissingCollectionError):
            return 0

    def __bool__(self) -> bool:
        """Return True, without opening the file to count the documents."""
        return True

    def __contains__(self, id: object) -> bool:
        """Tell whether this is the id of an added text, or the path of an indexed file."""
        if not isinstance(id, (str, Path)):
            return False
        try:
            with self._unless_closed(), self._readers.one() as store:
                return _find(store, id) is not None
        except (EmptyCollectionError, MissingCollectionError):
            return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


def _ignore(_: object) -> None:
    pass


def _check_id(id: object) -> None:
    if not isinstance(id, (str, Path)):
        raise ArgumentError(
            f"an id is of type {type(id).__name__}; pass the id of a text, or the path of a file",
            argument="ids",
        )


def _find(store: Store, id: str | Path) -> StoredDocument | None:
    """Find a document by its id or its path, which may be relative."""
    text = os.fspath(id)
    if not text or "\0" in text:
        return None
    return (isinstance(id, str) and store.document(id)) or store.document(absolute(text))
