"""Recall of the first pass over binary codes, on vectors of real text.

python benchmarks/recall.py MODEL.gguf texts.txt queries.txt
python benchmarks/recall.py MODEL.gguf texts.txt queries.txt --database texts.db    # and keep it

Both files have a text on each line, or in the field "text" of .jsonl files. The texts become a
collection as `jlocal index` makes it, and the queries are asked as `jlocal search` asks them. A hit
is correct if it scores as high as the tenth nearest of all texts, so that any of several texts with
the same vector is accepted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal import Collection, Embedder  # noqa: E402
from jlocal.collection.database.codes import Ids, pack  # noqa: E402
from jlocal.collection.database.store import Store  # noqa: E402
from jlocal.collection.search.hits import Hit  # noqa: E402
from jlocal.collection.search.nearest import agreement  # noqa: E402
from jlocal.collection.search.ranking import search  # noqa: E402
from jlocal.vectors import Floats  # noqa: E402

# Of a file, whose size is limited.
_RECORDS = 10_000
_HITS = 10
_DEPTHS = (100, 250, 500, 1000, 2000, 4000, 8000)
_ROUNDING = 1e-6
# Comparing everything takes long, and finds everything; so many tell how long.
_EXACT, _TIMED = 10, 50


def read(path: Path, most: int | None) -> list[str]:
    """Read the distinct texts of a file that are not empty, in its order."""
    with path.open(encoding="utf-8") as file:
        texts = (json.loads(line)["text"] if path.suffix == ".jsonl" else line for line in file)
        return list(dict.fromkeys(text for line in texts if (text := line.strip())))[:most]


def index(database: Path, model: Embedder, texts: Sequence[str]) -> None:
    """Make a collection in which each text is a record."""
    folder = database.with_suffix(".texts")
    folder.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, len(texts), _RECORDS)):
        lines = (f"{json.dumps({'text': text})}\n" for text in texts[start : start + _RECORDS])
        (folder / f"{number:04}.jsonl").write_text("".join(lines), encoding="utf-8")
    with Collection(database, model) as collection:
        # A search gives one passage of each text, so each text is one passage.
        report = collection.index(folder, chunk=None, fields=["text"])
    if report.failures:
        raise SystemExit(str(report.failures[0]))


def everything(store: Store) -> tuple[Ids, Floats]:
    """Ids (n,) and vectors (n, d) of all passages."""
    ids, vectors = zip(*store.vectors(), strict=True)
    return np.concatenate(ids), np.concatenate(vectors)


def depths(store: Store, ids: Ids, vectors: Floats, queries: Floats) -> Iterator[str]:
    """Yield a row for each number of candidates: what they hold, and what comparing them takes."""
    places: list[list[int]] = []
    orders = []
    codes = pack(vectors)
    for query in queries:
        order = np.argsort(-agreement(codes, query), kind="stable")
        orders.append(order[: max(_DEPTHS)])
        nearest = np.argsort(-(vectors @ query), kind="stable")[:_HITS]
        places.append([int(np.flatnonzero(order == near)[0]) for near in nearest])
    yield "\n| candidates | hold of the ten nearest | reading and comparing them, ms |"
    yield "| ---: | ---: | ---: |"
    for depth in _DEPTHS:
        taken = []
        for query, order in zip(queries[:_TIMED], orders, strict=False):
            began = time.perf_counter()
            for _, block in store.vectors(np.sort(ids[order[:depth]])):
                block @ query
            taken.append(time.perf_counter() - began)
        held = np.mean(np.array(places) < depth)
        yield f"| {depth:,} | {held:.4f} | {1000 * statistics.median(taken):.1f} |"


def found(hits: Sequence[Hit], least: float) -> int:
    """How many hits are among the ten nearest, the last of which has this score."""
    return sum(hit.score >= least - _ROUNDING for hit in hits)


def measure(
    queries: Floats, vectors: Floats, find: Callable[[Floats], list[Hit]]
) -> tuple[float, float, float]:
    """Recall@10 against all vectors (n, d), the worst query's, and the median milliseconds."""
    parts, taken = [], []
    for query in queries:
        began = time.perf_counter()
        hits = find(query)
        taken.append(time.perf_counter() - began)
        least = np.partition(vectors @ query, -_HITS)[-_HITS]
        parts.append(found(hits, float(least)) / _HITS)
    return float(np.mean(parts)), min(parts), 1000 * statistics.median(taken)


def tables(
    model: Path, texts: Sequence[str], queries: Sequence[str], database: Path
) -> Iterator[str]:
    """Yield the lines of the report."""
    with Embedder(model) as embedder:
        began = time.perf_counter()
        index(database, embedder, texts)
        seconds = time.perf_counter() - began
        asked = np.stack(list(embedder.stream(queries, embedder_prompt(embedder))))
    store = Store(database)
    ids, vectors = everything(store)
    yield (
        f"{len(ids):,} texts of {vectors.shape[1]} dimensions, indexed in {seconds:,.0f} s; "
        f"{len(asked):,} queries\n"
    )
    yield "| search | recall@10 | worst query | median, ms |"
    yield "| --- | ---: | ---: | ---: |"
    for name, some, exact in (
        ("all compared", asked[:_EXACT], True),
        ("codes first", asked, False),
        ("as jlocal search", asked, None),
    ):
        recall, worst, median = measure(
            some, vectors, lambda query, exact=exact: search(store, query, _HITS, exact=exact)
        )
        yield f"| {name} | {recall:.4f} | {worst:.1f} | {median:.1f} |"
    yield from depths(store, ids, vectors, asked)
    store.close()


def embedder_prompt(model: Embedder) -> str | None:
    """Name the prompt that a search takes."""
    return "query" if "query" in model.prompts else None


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--database", type=Path)
    parser.add_argument("--texts-at-most", type=int)
    parser.add_argument("--queries-at-most", type=int, default=1000)
    options = parser.parse_args()
    texts = read(options.texts, options.texts_at_most)
    queries = read(options.queries, options.queries_at_most)
    with tempfile.TemporaryDirectory() as name:
        database = options.database or Path(name) / "texts.db"
        for row in tables(options.model, texts, queries, database):
            print(row, flush=True)


if __name__ == "__main__":
    main()
