"""The content of a map: a point for each passage of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from jlocal.collection.database.store import Store
from jlocal.collection.database.values import Ids
from jlocal.collection.location import Location
from jlocal.errors import CollectionError, EmptyCollectionError
from jlocal.map.clusters import kmeans, name_clusters
from jlocal.map.folders import below_common_folder, by_top_folder
from jlocal.map.projection import Points, pca, umap
from jlocal.vectors import Floats

# The number of colours that are easy to distinguish.
MAX_GROUPS = 12
# The seed of sampling, clusters and UMAP: the same collection gives the same picture.
_SEED = 0


@dataclass(frozen=True)
class Passage:
    """The labels of a point.

    Attributes:
        path: path of the document, relative to the common folder of all documents.
        where: the line or page in the document, or "".
        locations: number of locations of the passage; `path` and `where` are the first.
        text: beginning of the passage, with single spaces between words.
        location: the first one, with the absolute path.
        length: of the whole passage, in characters.

    """

    path: str
    where: str
    locations: int
    text: str
    location: Location | None = None
    length: int = 0


@dataclass(frozen=True)
class Picture:
    """The points of a map and their labels.

    Attributes:
        points: (n, 2), in any unit, the same for both axes.
        passages: the passage of each point.
        groups: names of the groups, which have colours.
        group_of: for each point the index of its group.
        grouping: the kind of groups: "folder" or "cluster".
        layout: a sentence about the two axes.
        total: number of passages in the collection, which may exceed the number of points.
        characters: maximum length of a passage's `text`.

    """

    points: Points
    passages: Sequence[Passage]
    groups: Sequence[str]
    group_of: Sequence[int]
    grouping: str
    layout: str
    total: int
    characters: int


def draw(
    database: Path,
    *,
    method: str = "pca",
    clusters: int | None = None,
    limit: int = 50_000,
    characters: int = 500,
) -> Picture:
    """Lay out the passages of a collection.

    PCA by folder holds one block of vectors at a time; UMAP and clusters hold all drawn vectors.

    Args:
        database: file of the collection.
        method: "pca" or "umap".
        clusters: maximum number of k-means clusters, up to `MAX_GROUPS`; None groups by the first
            folder below the common folder of all documents.
        limit: maximum number of points; a larger collection is sampled at random.
        characters: number of characters that are kept of each passage.

    Raises:
        ArgumentError: there are too few passages for UMAP.
        CollectionError: the collection does not exist, is empty, or cannot be read.
        ExtraError: umap-learn is not installed.

    """
    store = Store(database)
    try:
        store.use_path_filter(lambda _: True)
        with store.snapshot():
            store.check_links()
            ids = np.sort(store.passages_under())
            total = len(ids)
            if not total:
                raise EmptyCollectionError(database)
            if limit < total:
                ids = np.sort(np.random.default_rng(_SEED).choice(ids, limit, replace=False))
            passages = _passages(store, ids, characters)
            blocks = partial(_blocks, store, ids)
            vectors = np.concatenate(list(blocks())) if clusters or method == "umap" else None
            if method == "umap" and vectors is not None:
                points, layout = umap(vectors, _SEED), _UMAP
            else:
                points, shares = pca(blocks)
                layout = _pca_sentence(shares, total=len(ids))
    finally:
        store.close()
    groups, group_of = _groups(passages, vectors, clusters)
    return Picture(
        points=points,
        passages=passages,
        groups=groups,
        group_of=group_of,
        grouping="cluster" if clusters else "folder",
        layout=layout,
        total=total,
        characters=characters,
    )


_UMAP = (
    "UMAP over cosines: neighbours stay neighbours; sizes of groups and distances between them "
    "mean little."
)


def _pca_sentence(shares: tuple[float, float], total: int) -> str:
    if sum(shares) == 0:
        return "A single point." if total == 1 else "All vectors are the same."
    left = max(0.0, 1 - sum(shares))
    return (
        f"PCA: the axes show {shares[0]:.1%} and {shares[1]:.1%} of the variance; {left:.1%} "
        "cannot be seen here."
    )


def _blocks(store: Store, ids: Ids) -> Iterator[Floats]:
    for _, vectors in store.vectors(ids):
        yield vectors


def _passages(store: Store, ids: Ids, characters: int) -> list[Passage]:
    locations = list(store.first_locations(ids))
    if len(locations) != len(ids):
        raise CollectionError(f"{store.path} is damaged; delete it and index again")
    paths = below_common_folder([location.name for location, _ in locations])
    return [
        _passage(path, location, count, store.text(id)[1], characters)
        for id, path, (location, count) in zip(ids.tolist(), paths, locations, strict=True)
    ]


def _passage(path: str, location: Location, count: int, text: str, characters: int) -> Passage:
    beginning = _beginning(text, characters)
    return Passage(path, location.label, count, beginning, location, len(text))


def _beginning(text: str, characters: int) -> str:
    # A text may be long and mostly spaces.
    read = text[: 20 * characters]
    words = " ".join(read.split())
    is_whole = len(read) == len(text) and len(words) <= characters
    return words if is_whole else f"{words[:characters]}…"


def _groups(
    passages: Sequence[Passage], vectors: Floats | None, clusters: int | None
) -> tuple[list[str], list[int]]:
    if clusters and vectors is not None:
        labels = kmeans(vectors, clusters, _SEED)
        return name_clusters([passage.text for passage in passages], labels), labels.tolist()
    return by_top_folder([passage.path for passage in passages], MAX_GROUPS)
