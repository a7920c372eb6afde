"""Collections of artificial vectors, and the data in their maps."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jlocal.collection.chunking.chunks import whole
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of
from jlocal.map.page import render
from jlocal.map.picture import draw
from jlocal.vectors import normalize
from support.collection_files import config_for
from support.texts import AWKWARD

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.hacked = 2'>",
    "\"'`${window.hacked = 3}`'\" \\u003c/script> \\",
    "&lt;b&gt; &amp; $data $$ ${script} %s {0}",
    "__proto__ constructor toString",
    *(text for text in AWKWARD.values() if text.strip()),
]
_DIMENSIONS = 32


def made(
    path: Path,
    texts: Sequence[str] | None = None,
    vectors: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Make a collection: folders a, b and c in turn, each around a direction of its own."""
    count = 120 if texts is None else len(texts)
    names = names or [f"{'abc'[number % 3]}/{number}.md" for number in range(count)]
    if texts is None:
        texts = [f"Passage {number} of folder {name[:2]}" for number, name in enumerate(names)]
    if vectors is None:
        rng = np.random.default_rng(2)
        centres = rng.standard_normal((3, _DIMENSIONS))
        spread = rng.standard_normal((count, _DIMENSIONS)) * 0.3
        vectors = normalize((centres[np.arange(count) % 3] + spread).astype(np.float32))
    batch = Batch()
    for number, (name, text, vector) in enumerate(zip(names, texts, vectors, strict=True)):
        digest = digest_of(text)
        batch.passages.setdefault(digest, ("", text, vector))
        chunk = whole(text, number + 1)
        batch.entries.append(
            Entry(f"/home/notes/{name}", None, digest_of(str(number)), [(0, chunk, digest)])
        )
    store = Store(path, create=True)
    store.set_config(config_for(np.shape(vectors)[1]))
    store.write(batch)
    store.close()


def write(database: Path, page: Path, *, title: str = "Map", **options: object) -> None:
    """Write the map of a collection."""
    page.write_bytes(render(draw(database, **options), title))


def data_of(page: bytes) -> dict:
    """Read the data of a page."""
    (block,) = re.findall(rb'<script id="data" type="application/json">(.*?)</script>', page)
    return json.loads(block)
