"""Export a collection to a folder of Qdrant's local mode."""

from __future__ import annotations

import itertools
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jlocal import extras
from jlocal.collection.export import OnFailure, Row, check_some, description, open_rows, storable
from jlocal.errors import ArgumentError, OutputError
from jlocal.files import unwritable
from jlocal.outputs.staging import scratch_folder

_ROWS = 256
# Ids of points are numbers or UUIDs.
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "jlocal:passage")


def export_to_qdrant(
    database: Path, target: Path, name: str, on_failure: OnFailure | None = None
) -> int:
    """Write a collection as a new folder of Qdrant's local mode (`QdrantClient(path=…)`).

    A point has a UUID made of the row's id, the vector with the distance "Cosine", and as payload
    `id`, `path`, `page`, `first_line`, `last_line` and `text`. The metadata of Qdrant's collection
    say how the vectors were made. Local mode holds all points in memory; its client warns above
    20,000 of them.

    Args:
        database: the collection.
        target: a folder that does not exist, or is empty. Qdrant reads pickles from an existing
            one, which could run a stranger's code.
        name: of Qdrant's collection.
        on_failure: as in `export.export`, for each path that is not UTF-8.

    Returns:
        How many vectors there are.

    Raises:
        ArgumentError: the name cannot be that of a collection.
        CollectionError: there is no such collection, nothing in it, or it cannot be read.
        ExtraError: Qdrant's client is not installed.
        OutputError: the folder exists, or cannot be written.

    """
    with extras.importing("qdrant", "Qdrant needs"):
        from qdrant_client import QdrantClient, models
    if not name.strip() or name != Path(name).name or name in (".", ".."):
        raise ArgumentError(
            f"{name[:80]!r} cannot be the name of a collection of Qdrant", argument="name"
        )
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OutputError(f"{target} exists already; name a new folder", path=target)
        with (
            open_rows(database) as (config, rows),
            scratch_folder(target.absolute().parent) as folder,
        ):
            client = QdrantClient(path=str(folder / "made"))
            try:
                client.create_collection(
                    name,
                    vectors_config=models.VectorParams(
                        size=config.dimensions, distance=models.Distance.COSINE
                    ),
                    metadata=description(config),
                )
                count = _fill(client, name, storable(rows, "Qdrant", on_failure))
            finally:
                client.close()
            check_some(count)
            if target.exists():
                target.rmdir()
            (folder / "made").rename(target)
            return count
    except OSError as error:
        reason = unwritable(error, "name another folder")
        raise OutputError(f"cannot write {target}: {reason}", path=target) from error


def _fill(client: Any, name: str, rows: Iterator[Row]) -> int:
    count = 0
    while block := list(itertools.islice(rows, _ROWS)):
        with warnings.catch_warnings():
            # Of 20,000 points, as the documentation says.
            warnings.simplefilter("ignore")
            client.upload_collection(
                name,
                vectors=np.stack([row.vector for row in block]),
                ids=[str(uuid.uuid5(_IDS, row.id)) for row in block],
                payload=[{"id": row.id, **row.columns, "text": row.text} for row in block],
            )
        count += len(block)
    return count
