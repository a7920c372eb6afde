"""Search time after the query is embedded, and recall of the first pass over binary codes.

python benchmarks/search.py --vectors 1000 10000 100000
python benchmarks/search.py --vectors 1000000 --dimensions 256 --words 30
python benchmarks/search.py --index-of-words 100000              # what it takes of time and disk
python benchmarks/search.py --texts FOLDER --model MODEL.gguf    # recall on vectors of real text

The made vectors are random directions, for which codes say least. The made texts have 80 words,
with the frequencies that words of languages have (Zipf's law), and a query has five words, from the
11th to the 10,000th most frequent. Memory is the most that the process held, numpy included.
The CPU time of all threads is the better measure when other programs use the processor.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal import Collection, Embedder  # noqa: E402
from jlocal.collection.chunking.chunks import whole  # noqa: E402
from jlocal.collection.config import CollectionConfig  # noqa: E402
from jlocal.collection.database.batch import Batch, Entry  # noqa: E402
from jlocal.collection.database.fulltext import PASSAGES, PATHS  # noqa: E402
from jlocal.collection.database.store import Store  # noqa: E402
from jlocal.collection.database.values import digest_of  # noqa: E402
from jlocal.collection.search.ranking import search  # noqa: E402
from jlocal.vectors import Floats, normalize  # noqa: E402

_BATCH = 1000
_VOCABULARY = 100_000


def words(rng: np.random.Generator, count: int, first: int, last: int) -> list[str]:
    """Draw words by Zipf's law, of ranks from first to last."""
    ranks = np.exp(rng.uniform(np.log(first), np.log(last + 1), count)).astype(int)
    return [f"w{rank}" for rank in ranks]


def create(path: Path, count: int, dimensions: int, length: int) -> Store:
    """Make a collection of one-passage documents with random unit vectors."""
    store = Store(path, create=True)
    store.set_config(
        CollectionConfig(
            *("made up", "/none.gguf", "0" * 64, "last", "", dimensions, "float32", "stored"),
            chunk=None,
            overlap=0,
            fields=(),
        )
    )
    rng = np.random.default_rng(0)
    for start in range(0, count, _BATCH):
        vectors = normalize(rng.standard_normal((_BATCH, dimensions), dtype=np.float32))
        batch = Batch()
        for number, vector in enumerate(vectors, start):
            text = f"{number} " + " ".join(words(rng, length, 1, _VOCABULARY))
            digest = digest_of(text)
            batch.passages[digest] = ("", text, vector)
            batch.entries.append(
                Entry(f"/made/{number}.md", None, digest, [(0, whole(text), digest)])
            )
        store.write(batch)
    return store


def times(
    path: Path, queries: Sequence[Floats | None], texts: Sequence[str | None], exact: bool | None
) -> tuple[list[float], list[float], float]:
    """Seconds of each search in a file opened once, and of one that opens the file as well.

    Returns:
        Times and CPU times of the former, and the time of the latter.

    """
    began = time.perf_counter()
    store = Store(path)
    search(store, queries[0], 10, text=texts[0], exact=exact)
    first = time.perf_counter() - began
    taken, computed = [], []
    for query, text in zip(queries, texts, strict=True):
        began, began_computing = time.perf_counter(), time.process_time()
        search(store, query, 10, text=text, exact=exact)
        taken.append(time.perf_counter() - began)
        computed.append(time.process_time() - began_computing)
    store.close()
    return taken, computed, first


def recall(store: Store, queries: Floats) -> float:
    """Return the part of the ten nearest that the first look at codes keeps."""
    found = 0
    for query in queries:
        exact, quick = (
            {(hit.path, hit.first_line) for hit in search(store, query, 10, exact=way)}
            for way in (True, False)
        )
        found += len(exact & quick)
    return found / (10 * len(queries))


def made(counts: Sequence[int], dimensions: int, length: int, folder: Path) -> Iterator[str]:
    """Yield a row of the table for each number of vectors."""
    rng = np.random.default_rng(1)
    vectors = list(normalize(rng.standard_normal((20, dimensions), dtype=np.float32)))
    texts = [" ".join(words(rng, 5, 11, 10_000)) for _ in vectors]
    nothing: list[None] = [None] * len(vectors)
    asked = {
        "words": (nothing, texts, None),
        "meaning": (vectors, nothing, None),
        "both": (vectors, texts, None),
        "both, all exact": (vectors[:3], texts[:3], True),
    }
    yield (
        "| passages | file, MB | compared | median, ms | CPU time, ms | slowest, ms | "
        "with opening, ms |"
    )
    yield "| ---: | ---: | --- | ---: | ---: | ---: | ---: |"
    for count in counts:
        path = folder / f"{count}.db"
        create(path, count, dimensions, length).close()
        for what, arguments in asked.items():
            taken, computed, first = times(path, *arguments)
            numbers = (statistics.median(taken), statistics.median(computed), max(taken), first)
            cells = " | ".join(f"{1000 * number:,.1f}" for number in numbers)
            yield f"| {count:,} | {path.stat().st_size / 1e6:,.0f} | {what} | {cells} |"
        path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield f"\nMost memory: {peak:,.0f} MB"


def index_of_words(count: int, dimensions: int, length: int, folder: Path) -> Iterator[str]:
    """Yield what the full-text indices take of the time to write passages, and of the file."""
    path = folder / "words.db"
    began = time.process_time()
    store = create(path, count, dimensions, length)
    yield f"{count:,} passages of {length} words: {time.process_time() - began:.1f} s of CPU time"
    sizes = []
    for index in (None, PASSAGES, PATHS):
        if index:
            with store._transaction() as connection:
                ids = index.ids(connection)
                empty = f"INSERT INTO {index.table} ({index.table}) VALUES ('delete-all')"
                connection.execute(empty)
                began = time.process_time()
                index.add(connection, ids)
                yield f"of these {index.table}: {time.process_time() - began:.1f} s"
                connection.execute(empty)
        store.vacuum()
        store.checkpoint()
        sizes.append(path.stat().st_size / 1e6)
    store.close()
    both, paths, none = sizes
    yield f"{both:,.1f} MB: passages' words {both - paths:,.1f}, paths' {paths - none:,.1f}"


def real(texts: Path, model: Path, chunk: int, folder: Path) -> Iterator[str]:
    """Yield the recall on vectors of the texts in a folder, with some of them as queries."""
    with Embedder(model) as embedder, Collection(folder / "real.db", embedder) as collection:
        collection.index(texts, chunk=chunk)
    store = Store(folder / "real.db")
    ids, vectors = next(iter(store.vectors()))
    step = max(1, len(ids) // 100)
    count = store.count_passages()
    yield f"recall@10 over {count:,} passages, {len(vectors[::step])} of them as queries: " + (
        f"{recall(store, vectors[::step]):.4f}"
    )
    store.close()


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--dimensions", type=int, default=1024)
    parser.add_argument("--words", type=int, default=80, help="words in a passage")
    parser.add_argument("--index-of-words", type=int, metavar="PASSAGES")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--chunk", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, of_passages = Path(name), (options.dimensions, options.words, Path(name))
        if options.texts:
            rows = real(options.texts, options.model, options.chunk, folder)
        elif options.index_of_words:
            rows = index_of_words(options.index_of_words, *of_passages)
        else:
            rows = made(options.vectors, *of_passages)
        for row in rows:
            print(row, flush=True)


if __name__ == "__main__":
    main()
