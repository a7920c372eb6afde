"""Retrieval quality by chunk size and overlap, with and without headings in the chunks.

python benchmarks/chunking.py MODEL.gguf FOLDER…
python benchmarks/chunking.py MODEL.gguf FOLDER… --join 5 --sizes 64 128 none --overlaps 0 0.125

Each FOLDER holds a retrieval set in the form of BEIR: corpus.jsonl with `_id`, `title` and `text`,
queries.jsonl with `_id` and `text`, and qrels.tsv. Public ones: https://github.com/beir-cellar/beir,
https://ir-datasets.com (cranfield, cisi, cacm), https://github.com/google-deepmind/xquad.

Documents are Markdown files with the title as their heading. `--join N` concatenates N neighbours
to one document with a section for each; one relevant section makes the document relevant. The score
of a document is that of its best chunk. nDCG@10 has the gain 2^relevance - 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal import Embedder  # noqa: E402
from jlocal.collection.chunking.markup import outline_of  # noqa: E402
from jlocal.collection.chunking.splitter import Splitter  # noqa: E402
from jlocal.vectors import Floats  # noqa: E402

_DEPTH = 10
_SIZES = ("64", "96", "128", "192", "256", "384", "512", "none")


@dataclass(frozen=True)
class RetrievalSet:
    """Documents, and queries with the documents that answer them.

    Attributes:
        documents: texts in Markdown.
        queries: texts.
        relevant: of each query, index of a document to its relevance.

    """

    documents: Sequence[str]
    queries: Sequence[str]
    relevant: Sequence[Mapping[int, int]]


def read(folder: Path, join: int, most: int | None = None) -> RetrievalSet:
    """Read a set of at most `most` documents, and join neighbours to longer documents."""
    rows = _rows(folder / "corpus.jsonl")[:most]
    documents = [
        "\n\n".join(map(_markdown, rows[first : first + join]))
        for first in range(0, len(rows), join)
    ]
    places = {row["_id"]: number // join for number, row in enumerate(rows)}
    relevant: dict[str, dict[int, int]] = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, relevance = line.split("\t")
        if int(relevance) > 0 and document in places:
            known = relevant[query].get(places[document], 0)
            relevant[query][places[document]] = max(known, int(relevance))
    queries = [row for row in _rows(folder / "queries.jsonl") if relevant[row["_id"]]]
    return RetrievalSet(
        documents, [row["text"] for row in queries], [relevant[row["_id"]] for row in queries]
    )


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _markdown(row: Mapping[str, str]) -> str:
    title, text = row["title"].strip(), row["text"].strip()
    if not title:
        return text
    # In some sets, the text repeats its title.
    return f"# {title}\n\n{text.removeprefix(title).strip()}"


def measure(
    texts: RetrievalSet, model: Embedder, splitter: Splitter, known: dict[bytes, Floats]
) -> str:
    """Return a row's figures: chunks, nDCG@10, recall@10, and the seconds of chunking."""
    began = time.perf_counter()
    chunks = [
        (number, splitter.embedded(chunk))
        for number, text in enumerate(texts.documents)
        for chunk in splitter.split(text, outline_of(text, "a.md"))
    ]
    seconds = time.perf_counter() - began
    vectors = _embed(model, [text for _, text in chunks], "document", known)
    queries = _embed(model, texts.queries, "query", known)
    owners = np.array([number for number, _ in chunks])
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    best = np.maximum.reduceat(queries @ vectors.T, starts, axis=1)
    scores = [
        _score(owners[starts][np.argsort(-row, kind="stable")[:_DEPTH]].tolist(), relevant)
        for row, relevant in zip(best, texts.relevant, strict=True)
    ]
    ndcg, recall = np.mean(scores, axis=0)
    return f"{len(chunks):,} | {ndcg:.3f} | {recall:.3f} | {seconds:.1f}"


def _score(found: Sequence[int], relevant: Mapping[int, int]) -> tuple[float, float]:
    """Return nDCG@10 and recall@10 of one query."""
    gains = [2 ** relevant.get(document, 0) - 1 for document in found]
    ideal = sorted((2**relevance - 1 for relevance in relevant.values()), reverse=True)[:_DEPTH]
    return _discounted(gains) / _discounted(ideal), len(relevant.keys() & set(found)) / len(
        relevant
    )


def _discounted(gains: Sequence[int]) -> float:
    return float(np.sum(np.array(gains) / np.log2(np.arange(len(gains)) + 2)))


def _embed(model: Embedder, texts: Sequence[str], kind: str, known: dict[bytes, Floats]) -> Floats:
    """Return the vectors (n, d) of texts, each of which is computed once in all settings."""
    prompt = model.prompt_text(None, kind if kind in model.prompts else None)
    digests = [hashlib.sha256((prompt + text).encode()).digest() for text in texts]
    new = {d: text for d, text in zip(digests, texts, strict=True) if d not in known}
    vectors = model.stream(new.values(), prompt=prompt)
    known.update(zip(new, vectors, strict=True))
    return np.stack([known[digest] for digest in digests])


def table(
    model: Embedder,
    texts: RetrievalSet,
    sizes: Sequence[str],
    overlaps: Sequence[float],
    headings: Sequence[bool],
) -> Iterator[str]:
    """Yield the lines of the table of one set."""
    yield "| tokens | overlap | headings | chunks | nDCG@10 | recall@10 | cutting, s |"
    yield "| ---: | ---: | --- | ---: | ---: | ---: | ---: |"
    prompt = model.prompt_text(None, "document" if "document" in model.prompts else None)
    known: dict[bytes, Floats] = {}
    for size in sizes:
        limit = None if size == "none" else int(size)
        for overlap in overlaps if limit else (0,):
            for embeds in headings:
                again = int((limit or 0) * overlap)
                splitter = Splitter(
                    limit, again, embeds, lambda text: len(model.tokenize(text, prompt))
                )
                figures = measure(texts, model, splitter, known)
                yield f"| {size} | {again} | {'yes' if embeds else 'no'} | {figures} |"


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--join", type=int, default=1)
    parser.add_argument("--documents", type=int, help="the most documents of each set")
    parser.add_argument("--sizes", nargs="+", default=_SIZES)
    parser.add_argument("--overlaps", type=float, nargs="+", default=(0.0,))
    parser.add_argument("--headings", choices=("yes", "no", "both"), default="both")
    given = parser.parse_args()
    headings = {"yes": (True,), "no": (False,), "both": (False, True)}[given.headings]
    with Embedder(given.model) as model:
        for folder in given.folders:
            texts = read(folder, given.join, given.documents)
            size = len(texts.documents)
            print(f"\n{folder.name}: {size:,} documents, {len(texts.queries):,} queries\n")
            for line in table(model, texts, given.sizes, given.overlaps, headings):
                print(line, flush=True)


if __name__ == "__main__":
    main()
