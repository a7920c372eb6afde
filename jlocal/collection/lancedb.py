"""Export a collection to a table of LanceDB."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jlocal import extras
from jlocal.collection.export import OnFailure, Row, check_some, description, open_rows, storable
from jlocal.errors import ArgumentError, OutputError
from jlocal.terms import Argument

_NAME = Argument("name")
# LanceDB's own rule.
_TABLE = re.compile(r"[A-Za-z0-9_.-]+")
_ROWS = 1024


def export_to_lancedb(
    database: Path, target: Path, name: str, on_failure: OnFailure | None = None
) -> int:
    """Write a collection as a new table of a LanceDB database, in bounded memory.

    Its columns are `id` and the others of `export.Row`, `text`, and `vector`, a list of fixed size
    of float32; `jlocal` in the metadata of its schema is JSON that says how the vectors were made.

    Args:
        database: the collection.
        target: the folder of the database, which is made if it is missing; other tables stay as
            they are.
        name: of the new table.
        on_failure: as in `export.export`, for each path that is not UTF-8.

    Returns:
        How many vectors there are.

    Raises:
        ArgumentError: the name cannot be that of a table.
        CollectionError: there is no such collection, nothing in it, or it cannot be read.
        ExtraError: LanceDB is not installed.
        OutputError: the database cannot be written, or has a table of this name.

    """
    with extras.importing("lancedb", "LanceDB needs"):
        import lancedb
        import pyarrow
    if not _TABLE.fullmatch(name):
        raise ArgumentError(
            f"{name[:80]!r} cannot be the name of a table of LanceDB, which has letters, digits, "
            f"'_', '-' and '.'; choose another with {_NAME}",
            _NAME,
            argument="name",
        )
    with open_rows(database) as (config, rows):
        # A table is this folder.
        if (target / f"{name}.lance").exists():
            raise OutputError(
                f"{target} has a table {name!r} already; choose another with {_NAME}",
                _NAME,
                path=target,
            )
        is_new = not target.exists()
        kept = _Kept(storable(rows, "LanceDB", on_failure))
        schema = _schema(pyarrow, config.dimensions, json.dumps(description(config)))
        try:
            tables = lancedb.connect(target)
            tables.create_table(name, _batches(pyarrow, schema, kept), schema=schema)
            check_some(kept.count)
        except BaseException as error:
            # Another process may have made a table of this name meanwhile.
            if "already exists" not in str(error):
                with suppress(Exception):
                    tables.drop_table(name)
            if is_new:
                with suppress(OSError):
                    target.rmdir()
            if kept.error:
                raise kept.error from None
            if isinstance(error, (OSError, RuntimeError, ValueError)):
                raise _unwritable(target, error) from error
            raise
    return kept.count


class _Kept:
    """Counts rows, and keeps the error that ended them: LanceDB would turn it into a text."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.count = 0
        self.error: BaseException | None = None

    def blocks(self) -> Iterator[list[Row]]:
        while block := self._next():
            self.count += len(block)
            yield block

    def _next(self) -> list[Row]:
        try:
            return list(itertools.islice(self._rows, _ROWS))
        except BaseException as error:
            self.error = error
            raise


def _schema(arrow: Any, dimensions: int, metadata: str) -> Any:
    integers = [(name, arrow.int64()) for name in ("page", "first_line", "last_line")]
    texts = [(name, arrow.string()) for name in ("id", "path", "text")]
    vector = ("vector", arrow.list_(arrow.float32(), dimensions))
    return arrow.schema([*texts[:2], *integers, texts[2], vector], metadata={"jlocal": metadata})


def _batches(arrow: Any, schema: Any, kept: _Kept) -> Iterator[Any]:
    for block in kept.blocks():
        values = [{"id": row.id, **row.columns, "text": row.text} for row in block]
        arrays = [
            arrow.array([row[field.name] for row in values], field.type)
            for field in list(schema)[:-1]
        ]
        floats = arrow.array(np.concatenate([row.vector for row in block]))
        vectors = arrow.FixedSizeListArray.from_arrays(floats, len(block[0].vector))
        yield arrow.record_batch([*arrays, vectors], schema=schema)


def _unwritable(target: Path, error: Exception) -> OutputError:
    reason = " ".join(str(error).split())[:200]
    return OutputError(f"cannot write {target} as a database of LanceDB: {reason}", path=target)
