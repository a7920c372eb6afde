"""A worker: one open model, which turns shards of a corpus into files of vectors."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jlocal.cluster.job import Job, Task, unwritable_output, write
from jlocal.embed.embedder import Embedder
from jlocal.errors import ArgumentError, ModelError, TextError
from jlocal.files import sha256_of
from jlocal.inputs.corpus import file_system, read_shard
from jlocal.inputs.documents import Document, Unreadable
from jlocal.vectors import Vectors


@dataclass(frozen=True)
class Outcome:
    """The outcome of a shard.

    Attributes:
        name: of its file.
        texts: number of texts with a vector.
        errors: number of texts with an error.
        tokens: number of computed tokens, including those of prompts.
        seconds: the time that it took.
        first_error: id and reason of the first text without a vector; "" if there is none.
        failure: why the shard could not be read at all; "" if it was.

    """

    name: str
    texts: int = 0
    errors: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first_error: str = ""
    failure: str = ""


class Worker:
    """Computes shards, one after the other; a context manager."""

    def __init__(
        self, job: Job, model: Path, threads: int | None = None, gpu_layers: int | None = None
    ) -> None:
        """Load the model.

        Args:
            job: the job.
            model: the model's file on this machine.
            threads: as in `Embedder`.
            gpu_layers: as in `Embedder`.

        Raises:
            ModelError: the file cannot be loaded, or is not the job's.

        """
        sha256 = sha256_of(model)
        if sha256 != job.model_sha256:
            raise ModelError(
                f"{model} is not the model of this job: its SHA-256 is {sha256[:12]}…, and not "
                f"{job.model_sha256[:12]}…",
                path=model,
            )
        self._job = job
        self._embedder = Embedder(
            model, threads=threads, gpu_layers=gpu_layers, on_long=job.on_long
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._embedder.close()

    def rows(self) -> Rows:
        """Begin rows of texts."""
        return Rows(self._embedder, self._job)

    def run(self, task: Task) -> Outcome:
        """Compute a shard and write its file, unless the file exists.

        A text that cannot be embedded gets a row with an error; it raises no exception.

        Raises:
            ModelError: llama.cpp cannot compute.
            OutputError: the file cannot be written.

        """
        system, folder = file_system(self._job.output)
        try:
            if system.get_file_info([f"{folder}/{task.name}"])[0].is_file:
                return Outcome(task.name)
            began = time.monotonic()
            rows = self.rows()
            try:
                for item in read_shard(self._job.source, task.shard, self._job.fields):
                    rows.add(item)
            except (ArgumentError, TextError) as error:
                return Outcome(task.name, failure=error.message)
            rows.compute()
            write(system, folder, task.name, rows.as_parquet())
        except OSError as error:
            raise unwritable_output(self._job.output, error) from error
        errors = sum(map(bool, rows.errors))
        return Outcome(
            task.name,
            len(rows.ids) - errors,
            errors,
            rows.tokens,
            time.monotonic() - began,
            rows.first_error,
        )


class Rows:
    """Texts in their order, with their vectors or errors.

    Attributes:
        ids: of the texts.
        errors: why a text has no vector; None if it has one.
        tokens: number of computed tokens.

    """

    def __init__(self, embedder: Embedder, job: Job) -> None:
        self._embedder, self._job = embedder, job
        self.ids: list[str] = []
        self.errors: list[str | None] = []
        self._texts: list[str | None] = []
        self._vectors: list[Vectors] = []
        self.tokens = 0

    @property
    def first_error(self) -> str:
        """Id and reason of the first row with an error."""
        return next(
            (
                f"{id}: {error}"
                for id, error in zip(self.ids, self.errors, strict=True)
                if error is not None
            ),
            "",
        )

    def add(self, item: Document | Unreadable) -> None:
        """Add a text, or its error."""
        self.ids.append(item.id)
        self.errors.append(None if isinstance(item, Document) else item.reason)
        self._texts.append(item.text if isinstance(item, Document) else None)

    def compute(self) -> None:
        """Compute the vectors of all texts."""
        good = [index for index, text in enumerate(self._texts) if text is not None]
        vectors = self._embedder.stream(
            [str(self._texts[index]) for index in good],
            prompt=self._job.prompt,
            truncate_dim=self._job.options.truncate_dim,
            precision=self._job.options.precision,
            errors="return",
            on_texts=self._count,
            on_truncated=_ignore,
        )
        for index, vector in zip(good, vectors, strict=True):
            if isinstance(vector, TextError):
                self.errors[index] = vector.reason
            else:
                self._vectors.append(vector)

    def _count(self, _: int, tokens: int) -> None:
        self.tokens += tokens

    def as_parquet(self) -> Any:
        """Return a Parquet file with the columns id, vector, error and, if asked for, text."""
        import pyarrow
        import pyarrow.parquet

        columns = {
            "id": pyarrow.array(self.ids, pyarrow.string()),
            "vector": self.vector_column(),
            "error": pyarrow.array(self.errors, pyarrow.string()),
        }
        if self._job.with_text:
            texts = [_storable(text) for text in self._texts]
            columns["text"] = pyarrow.array(texts, pyarrow.string())
        schema = {"jlocal": json.dumps(self._job.made, ensure_ascii=False)}
        table = pyarrow.table(columns).replace_schema_metadata(schema)
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink, use_dictionary=False, compression="zstd")
        return sink.getvalue()

    def vector_column(self) -> Any:
        """Return an array of lists of fixed size, null where a text has no vector."""
        import pyarrow

        length, kind = self._width
        has_one = np.array([error is None for error in self.errors], np.bool_)
        rows = np.zeros((len(has_one), length), kind)
        if self._vectors:
            rows[has_one] = np.stack(self._vectors)
        return pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(rows.reshape(-1)), length, mask=pyarrow.array(~has_one)
        )

    @property
    def _width(self) -> tuple[int, str]:
        """How many numbers of which type a vector has."""
        kinds = {"binary": "int8", "ubinary": "uint8"}
        precision = self._job.options.precision
        length = int(str(self._job.made["dimensions"]))
        return length // 8 if precision in kinds else length, kinds.get(precision, precision)


def _ignore(_: object) -> None:
    """Do nothing: truncation was asked for."""


def _storable(text: str | None) -> str | None:
    """Return a text as valid UTF-8: one with a lone surrogate has an error, and no vector."""
    return None if text is None else text.encode("utf-8", "replace").decode()
