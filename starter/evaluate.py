"""Public measures of an embedder, over sets in the layout that README.md names.

An embedder is a function (texts, prompt name) -> unit vectors, (texts, dimensions) float32.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Embed = Callable[[list[str], str], Vectors]
Rescoring = Literal["cosine", "signs"]


def shorten(vectors: Vectors, dimensions: int | None) -> Vectors:
    """Keep the first dimensions, normalised again."""
    short = vectors[:, :dimensions]
    lengths = np.linalg.norm(short, axis=1, keepdims=True)
    unit: Vectors = (short / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit


def spearman(a: Vectors, b: Vectors) -> float:
    """Correlation of ranks, ties at their mean rank."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ranks(values: Vectors) -> NDArray[np.float64]:
    """Mean rank of each value."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[group]


# Similarity of sentences


def sts_pairs(path: Path) -> tuple[list[str], list[str], Vectors]:
    """Sentence pairs and their scores: STS benchmark as CSV, or SICK as tab-separated values."""
    left, right, scores = [], [], []
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            rows = [(r[0], r[1], r[2]) for r in csv.reader(file)]
        else:
            table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = [(r["sentence_A"], r["sentence_B"], r["relatedness_score"]) for r in table]
    for a, b, score in rows:
        left.append(a)
        right.append(b)
        scores.append(float(score))
    return left, right, np.array(scores, np.float32)


def sts(embed: Embed, path: Path, dimensions: int | None = None) -> float:
    """Spearman's correlation of cosine and human score."""
    left, right, scores = sts_pairs(path)
    a = shorten(embed(left, "document"), dimensions)
    b = shorten(embed(right, "document"), dimensions)
    return spearman((a * b).sum(1), scores)


# Retrieval


def retrieval_set(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Documents, queries and judgements of a folder in the BEIR layout."""

    def read(name: str) -> dict[str, str]:
        with (folder / name).open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
        return {
            str(r["_id"]): " ".join(filter(None, (r.get("title"), r.get("text")))) for r in rows
        }

    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines():
        query, document, score = line.split("\t")[:3]
        if score.strip().lstrip("-").isdigit():
            judged[query][document] = int(score)
    return read("corpus.jsonl"), read("queries.jsonl"), judged


def ndcg(order: list[str], judged: dict[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of the first documents."""
    gains = np.array([max(0, judged.get(document, 0)) for document in order[:depth]])
    best = np.array(sorted((max(0, score) for score in judged.values()), reverse=True)[:depth])
    discount = 1 / np.log2(np.arange(2, depth + 2))
    return float((gains * discount[: len(gains)]).sum() / (best * discount[: len(best)]).sum())


def retrieval(
    embed: Embed,
    folder: Path,
    *,
    dimensions: int | None = None,
    query_prompt: str = "query",
    binary: Rescoring | None = None,
) -> float:
    """Mean nDCG@10.

    With `binary`, the 100 documents of the smallest Hamming distance of sign bits are scored again:
    by cosine, as in `jlocal search`; or, if it is "signs", by the query's floats and the documents'
    signs, as if only the signs were stored.
    """
    documents, queries, judged = retrieval_set(folder)
    names = list(documents)
    asked = [q for q in queries if any(score > 0 for score in judged.get(q, {}).values())]
    d = shorten(embed([documents[n] for n in names], "document"), dimensions)
    q = shorten(embed([queries[a] for a in asked], query_prompt), dimensions)
    scores = q @ d.T
    if binary:
        signs = np.where(d > 0, 1, -1).astype(np.float32)
        near = np.where(q > 0, 1, -1).astype(np.float32) @ signs.T
        cut = np.sort(near, axis=1)[:, -min(100, len(names))][:, None]
        again = q @ signs.T if binary == "signs" else scores
        scores = np.where(near >= cut, again, -1e9)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    results = [ndcg([names[i] for i in row], judged[a]) for row, a in zip(best, asked, strict=True)]
    return float(np.mean(results))


# Clustering and classification


def labelled(path: Path) -> tuple[list[str], list[str]]:
    """Texts and their labels, from a CSV file with the columns text and category."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def clustering(embed: Embed, path: Path) -> float:
    """V-measure of k-means with as many clusters as labels, the mean of ten runs."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    texts, labels = labelled(path)
    vectors = embed(texts, "document")
    found = (
        KMeans(len(set(labels)), n_init=1, random_state=seed).fit_predict(vectors)
        for seed in range(10)
    )
    return float(np.mean([v_measure_score(labels, clusters) for clusters in found]))


def classification(embed: Embed, train: Path, test: Path) -> float:
    """Accuracy of a logistic regression on the vectors."""
    from sklearn.linear_model import LogisticRegression

    texts, labels = labelled(train)
    probe = LogisticRegression(C=10, max_iter=300).fit(embed(texts, "document"), labels)
    texts, labels = labelled(test)
    return float(probe.score(embed(texts, "document"), labels))
