"""A collection to a file that other programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from jlocal import __version__
from jlocal.collection.place import Place
from jlocal.collection.recipe import Recipe
from jlocal.collection.store import Store
from jlocal.errors import CollectionError, OutputError, TextError
from jlocal.vectors import Floats
from jlocal.writers import Columns, Writer, open_writer


@dataclass(frozen=True)
class Row:
    """A passage where it stands.

    Attributes:
        id: `PATH:LINE`, of a page of a PDF file `PATH p. PAGE`, of HTML `PATH`; with `#2`, `#3`, …
            for more passages of the same id.
        columns: `path`, `page`, `first_line`, `last_line`, as in `search.Hit`.
        text: the passage.
        vector: (d,) float32.

    """

    id: str
    columns: Columns
    text: str
    vector: Floats


@contextmanager
def open_rows(database: Path) -> Iterator[tuple[Recipe, Iterator[Row]]]:
    """Open a collection as it is now: how it was made, and its rows, one at a time.

    Raises:
        CollectionError: there is no such collection, nothing in it, or it cannot be read.

    """
    with closing(Store(database)) as store, store.snapshot():
        recipe = store.recipe()
        if recipe is None or not store.count_passages():
            raise CollectionError(f"{database} is empty; fill it with: jlocal index PATH…")
        store.check_links()
        yield recipe, _rows(store)


def _rows(store: Store) -> Iterator[Row]:
    here, seen = "", Counter[str]()
    for place, text, vector in store.standing():
        if place.path != here:
            here, seen = place.path, Counter()
        id = f"{place.path}{place.label}"
        seen[id] += 1
        unique = id if seen[id] == 1 else f"{id}#{seen[id]}"
        yield Row(unique, _columns(place), text, vector)


def _columns(place: Place) -> Columns:
    first, last = place.lines
    return {"path": place.path, "page": place.page, "first_line": first, "last_line": last}


def export(database: Path, output: Path, format: str) -> int:
    """Write the vectors of a collection to a file, in bounded memory.

    Args:
        database: the collection.
        output: the file to write or replace.
        format: one of `jlocal.writers.FORMATS`. jsonl, csv and parquet have the columns `id`,
            `path`, `page`, `first_line`, `last_line`, `text` and the vector; npz has ids and
            vectors, npy only vectors.

    Returns:
        How many vectors there are.

    Raises:
        CollectionError: there is no such collection, nothing in it, or it cannot be read.
        OutputError: the file cannot be written, or its format cannot hold a path.
        ExtraError: the format needs a package that is not installed.

    """
    if output.exists() and database.exists() and output.samefile(database):
        raise OutputError(f"{output} is the collection itself; name another file")
    with open_rows(database) as (recipe, rows):
        made = recipe.to_settings() | {"jlocal": __version__}
        del made["model_path"]
        with open_writer(output, format, made) as writer:
            return write(rows, writer)


def write(rows: Iterator[Row], writer: Writer) -> int:
    """Write rows, and say how many there were.

    Raises:
        OutputError: the format cannot hold one of them.

    """
    count = 0
    for row in rows:
        try:
            writer.add(row.id, row.vector, {**row.columns, "text": row.text})
        except TextError as error:
            raise OutputError(f"{row.id}: {error}") from error
        count += 1
    return count
