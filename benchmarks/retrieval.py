"""Retrieval quality of words, meaning and both: mean nDCG@10 over sets of queries.

python benchmarks/retrieval.py SETS                   # all sets below a folder, with starter
python benchmarks/retrieval.py SETS --model MODEL.gguf --chunk 512 --queries 100

A set is a folder with corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and qrels.tsv
(query, document, grade), as the sets of BEIR are: https://github.com/beir-cellar/beir. Each
document becomes a file with a meaningless name, in a collection as `jlocal index` makes it; each
query is asked as `jlocal search` asks it, and each file is counted once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal import Collection, Embedder  # noqa: E402
from jlocal.collection.search.ranking import MODES  # noqa: E402
from jlocal.models.starter import FILE  # noqa: E402
from starter.evaluate import ndcg, retrieval_set  # noqa: E402

_DEPTH = 10


@dataclass(frozen=True)
class Row:
    """The results of a set: for each mode, mean nDCG@10 and the median milliseconds of a search."""

    name: str
    documents: int
    passages: int
    queries: int
    gains: dict[str, float]
    times: dict[str, float]


def measure(name: str, folder: Path, model: Embedder, chunk: str, most: int | None) -> Row:
    """Index a set and ask its queries."""
    documents, queries, judged = retrieval_set(folder)
    asked = [q for q in queries if any(grade > 0 for grade in judged.get(q, {}).values())]
    # Evenly, so that a part is like the whole.
    asked = asked[:: max(1, -(-len(asked) // most))] if most else asked
    with tempfile.TemporaryDirectory() as work:
        texts = Path(work) / "texts"
        texts.mkdir()
        ids = {}
        for number, (id, text) in enumerate(documents.items()):
            path = texts / f"{_letters(number)}.txt"
            path.write_text(text, encoding="utf-8")
            ids[str(path)] = id
        with Collection(Path(work) / "set.db", model) as collection:
            collection.index(texts, chunk=_chunk(chunk))
            gains, times = {}, {}
            for mode in MODES:
                found, taken = [], []
                for query in asked:
                    began = time.perf_counter()
                    hits = collection.search(queries[query], _DEPTH, mode=mode)
                    taken.append(time.perf_counter() - began)
                    paths = [p.path for hit in hits for p in (hit, *hit.others)]
                    order = [ids[path] for path in dict.fromkeys(paths)]
                    found.append(ndcg(order[:_DEPTH], judged[query]))
                gains[mode] = statistics.mean(found)
                times[mode] = 1000 * statistics.median(taken)
            with collection._readers.one() as store:
                passages = store.count_passages()
    return Row(name, len(documents), passages, len(asked), gains, times)


def _letters(number: int) -> str:
    """Name a file so that no word of a query is in it."""
    return "q" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _chunk(value: str) -> int | str | None:
    return None if value == "none" else value if value == "auto" else int(value)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table in Markdown; the last column is what both gain on the better of the two."""
    yield "| set | documents | passages | queries | words | meaning | both | gain |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        words, meaning, both = (row.gains[mode] for mode in ("words", "meaning", "both"))
        yield (
            f"| {row.name} | {row.documents:,} | {row.passages:,} | {row.queries:,} | {words:.4f} "
            f"| {meaning:.4f} | {both:.4f} | {both - max(words, meaning):+.4f} |"
        )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path, help="a folder with sets in it, at any depth")
    parser.add_argument("--model", type=Path, default=FILE)
    parser.add_argument("--chunk", default="auto", help="auto, none or a number of tokens")
    parser.add_argument("--queries", type=int, help="maximum number for each set")
    options = parser.parse_args()
    folders = sorted(path.parent for path in options.sets.rglob("corpus.jsonl"))
    if not folders:
        raise SystemExit(f"no set in {options.sets}: no corpus.jsonl")
    rows = []
    with Embedder(options.model) as model:
        for folder in folders:
            name = str(folder.relative_to(options.sets)) if folder != options.sets else folder.name
            rows.append(measure(name, folder, model, options.chunk, options.queries))
            print(f"{name}: {rows[-1].times}", file=sys.stderr, flush=True)
    for line in table(rows):
        print(line)


if __name__ == "__main__":
    main()
