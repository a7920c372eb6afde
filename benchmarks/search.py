"""How long a search takes after its query is embedded, and what the first look at codes finds.

python benchmarks/search.py --vectors 1000 10000 100000
python benchmarks/search.py --texts FOLDER --model MODEL.gguf    # recall on vectors of real text

The made vectors are random directions, for which codes say least. The made texts have 80 words,
with the frequencies that words of languages have (Zipf's law), and a query has five words, from the
11th to the 10,000th most frequent. Memory is the most that the process held, numpy included.
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
from jlocal.collection.batch import Batch, Entry  # noqa: E402
from jlocal.collection.chunks import whole  # noqa: E402
from jlocal.collection.recipe import Recipe  # noqa: E402
from jlocal.collection.search import search  # noqa: E402
from jlocal.collection.store import Store  # noqa: E402
from jlocal.collection.values import digest_of  # noqa: E402
from jlocal.vectors import Floats, normalize  # noqa: E402

_BATCH = 1000
_WORDS, _VOCABULARY = 80, 100_000


def words(rng: np.random.Generator, count: int, first: int, last: int) -> list[str]:
    """Draw words by Zipf's law, of ranks from first to last."""
    ranks = np.exp(rng.uniform(np.log(first), np.log(last + 1), count)).astype(int)
    return [f"w{rank}" for rank in ranks]


def fill(store: Store, count: int, dimensions: int) -> None:
    """Write so many documents of one passage each, with random unit vectors."""
    rng = np.random.default_rng(0)
    for start in range(0, count, _BATCH):
        vectors = normalize(rng.standard_normal((_BATCH, dimensions), dtype=np.float32))
        batch = Batch()
        for number, vector in enumerate(vectors, start):
            text = f"{number} " + " ".join(words(rng, _WORDS, 1, _VOCABULARY))
            digest = digest_of(text)
            batch.passages[digest] = ("", text, vector)
            batch.entries.append(
                Entry(f"/made/{number}.md", None, digest, [(0, whole(text), digest)])
            )
        store.write(batch)


def times(
    path: Path, queries: Sequence[Floats | None], texts: Sequence[str | None], exact: bool | None
) -> tuple[list[float], float]:
    """Seconds of each search in a file opened once, and of one that opens the file as well."""
    began = time.perf_counter()
    store = Store(path)
    search(store, queries[0], 10, text=texts[0], exact=exact)
    first = time.perf_counter() - began
    taken = []
    for query, text in zip(queries, texts, strict=True):
        began = time.perf_counter()
        search(store, query, 10, text=text, exact=exact)
        taken.append(time.perf_counter() - began)
    store.close()
    return taken, first


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


def made(counts: Sequence[int], dimensions: int, folder: Path) -> Iterator[str]:
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
    yield "| vectors | file, MB | compared | median, ms | slowest, ms | with opening, ms |"
    yield "| ---: | ---: | --- | ---: | ---: | ---: |"
    for count in counts:
        path = folder / f"{count}.db"
        store = Store(path, create=True)
        store.set_recipe(
            Recipe(
                *("made up", "/none.gguf", "0" * 64, "last", "", dimensions, "float32", "stored"),
                chunk=None,
                overlap=0,
                fields=(),
            )
        )
        fill(store, count, dimensions)
        store.close()
        for what, arguments in asked.items():
            taken, first = times(path, *arguments)
            numbers = (statistics.median(taken), max(taken), first)
            cells = " | ".join(f"{1000 * number:,.1f}" for number in numbers)
            yield f"| {count:,} | {path.stat().st_size / 1e6:,.0f} | {what} | {cells} |"
        path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield f"\nMost memory: {peak:,.0f} MB"


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
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--chunk", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = (
            real(options.texts, options.model, options.chunk, Path(name))
            if options.texts
            else made(options.vectors, options.dimensions, Path(name))
        )
        for row in rows:
            print(row, flush=True)


if __name__ == "__main__":
    main()
