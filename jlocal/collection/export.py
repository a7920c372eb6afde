"""Export the vectors of a collection to a file for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jlocal._version import __version__
from jlocal.collection.config import CollectionConfig
from jlocal.collection.database.store import Store
from jlocal.collection.location import Location
from jlocal.errors import EmptyCollectionError, OutputError, TextError
from jlocal.inputs.documents import Unreadable
from jlocal.outputs.writers import Columns, Writer, open_writer
from jlocal.vectors import Floats

OnFailure = Callable[[Unreadable], None]


@dataclass(frozen=True)
class Row:
    """A passage at its location.

    Attributes:
        id: `PATH:LINE`, for a page of a PDF file `PATH p. PAGE`, for HTML `PATH`; further passages
            with the same id get `#2`, `#3`, ….
        columns: `path`, `page`, `first_line`, `last_line`, as in `hits.Hit`.
        text: the passage.
        vector: (d,) float32.

    """

    id: str
    columns: Columns
    text: str
    vector: Floats


@contextmanager
def open_rows(database: Path) -> Iterator[tuple[CollectionConfig, Iterator[Row]]]:
    """Open a snapshot of a collection: its config, and its rows, one at a time.

    Raises:
        CollectionError: there is no such collection, nothing in it, or it cannot be read.

    """
    with closing(Store(database)) as store, store.snapshot():
        config = store.config()
        if config is None or not (store.has_documents() and store.count_passages()):
            raise EmptyCollectionError(database)
        store.check_links()
        yield config, _rows(store)


def _rows(store: Store) -> Iterator[Row]:
    here, seen = "", Counter[str]()
    for location, text, vector in store.standing():
        if location.path != here:
            here, seen = location.path, Counter()
        id = f"{location.name}{location.label}"
        seen[id] += 1
        unique = id if seen[id] == 1 else f"{id}#{seen[id]}"
        yield Row(unique, _columns(location), text, vector)


def _columns(location: Location) -> Columns:
    first, last = location.lines
    return {"path": location.name, "page": location.page, "first_line": first, "last_line": last}


def export(
    database: Path,
    output: Path,
    format: str,
    *,
    safe_cells: bool = False,
    on_failure: OnFailure | None = None,
) -> int:
    """Write the vectors of a collection to a file, in bounded memory.

    Args:
        database: the collection.
        output: the file to write or replace.
        format: one of `jlocal.outputs.writers.FORMATS`. jsonl, csv and parquet have the columns
            `id`, `path`, `page`, `first_line`, `last_line`, `text` and the vector; npz has ids and
            vectors, npy only vectors.
        safe_cells: in csv, keep spreadsheets from running a text as a formula; see
            `jlocal.outputs.writers.Csv`.
        on_failure: called with each row that the format cannot hold, while all other rows are
            written; if None, such a row is an error, and no file is written.

    Returns:
        How many vectors there are.

    Raises:
        CollectionError: there is no such collection, nothing in it, or it cannot be read.
        OutputError: the file cannot be written, or its format cannot hold a path, or any.
        ExtraError: the format needs a package that is not installed.

    """
    if output.exists() and database.exists() and output.samefile(database):
        raise OutputError(f"{output} is the collection itself; name another file", path=output)
    with (
        open_rows(database) as (config, rows),
        open_writer(output, format, description(config), safe_cells=safe_cells) as writer,
    ):
        return write(rows, writer, on_failure)


def write(rows: Iterator[Row], writer: Writer, on_failure: OnFailure | None = None) -> int:
    """Write rows, and return how many were written; `on_failure` as in `export`.

    Raises:
        OutputError: the format cannot hold one of them, or any.

    """
    count = 0
    for row in rows:
        try:
            writer.add(row.id, row.vector, {**row.columns, "text": row.text})
            count += 1
        except TextError as error:
            leave_out(row, error.reason, on_failure)
    check_some(count)
    return count


def description(config: CollectionConfig) -> dict[str, Any]:
    """Return how the vectors were made, as JSON values for the metadata of another format."""
    made = config.to_settings() | {"jlocal": __version__}
    del made["model_path"]
    return made


def storable(rows: Iterator[Row], format: str, on_failure: OnFailure | None) -> Iterator[Row]:
    """Yield the rows whose paths are UTF-8; `on_failure` as in `export`.

    Args:
        rows: of a collection.
        format: the format that cannot hold the other rows, such as "a database of llm".
        on_failure: called for each of the other rows.

    Raises:
        OutputError: a path is not UTF-8, and `on_failure` is None.

    """
    for row in rows:
        try:
            row.id.encode()
        except UnicodeEncodeError:
            reason = (
                f"its path is not UTF-8, which {format} cannot hold; rename the file and index "
                "again, or export to jsonl"
            )
            leave_out(row, reason, on_failure)
        else:
            yield row


def leave_out(row: Row, reason: str, on_failure: OnFailure | None) -> None:
    """Report a row that cannot be written.

    Raises:
        OutputError: `on_failure` is None.

    """
    if on_failure is None:
        raise OutputError(f"{row.id}: {reason}")
    on_failure(Unreadable(row.id, reason))


def check_some(count: int) -> None:
    """Check that a row was written.

    Raises:
        OutputError: no row was written.

    """
    if not count:
        raise OutputError("no row could be written, so there is no output")
