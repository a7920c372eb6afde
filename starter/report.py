"""The model card's table: GGUF files, the teacher and word vectors on public sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from jlocal import Embedder
from starter import evaluate, teacher
from starter.evaluate import Embed, Vectors

MINILM = "minilm"


def run(models: Sequence[str], sets: Path) -> None:
    """Print one line for each measure: its name, and the figure of each model.

    Args:
        models: GGUF files, or "minilm" for the teacher.
        sets: folder with sts/, retrieval/ and classification/; missing sets are left out.

    """
    measures = dict(_measures(sets))
    table: dict[str, list[float]] = {name: [] for name in measures}
    for model in models:
        with opened(model) as embed:
            for name, measure in measures.items():
                table[name].append(measure(embed))
    width = max(map(len, table))
    print(" " * width, *(Path(model).stem for model in models), sep="  ")
    for name, figures in table.items():
        print(name.ljust(width), *(f"{figure:.4f}" for figure in figures), sep="  ")


@contextmanager
def opened(model: str) -> Iterator[Embed]:
    """Open a model as a function that remembers what it has embedded."""
    if model == MINILM:
        yield remembering(lambda texts, _: teacher.encode(texts).astype(np.float32))
        return
    with Embedder(model, on_long="truncate") as embedder:

        def embed(texts: list[str], prompt: str) -> Vectors:
            # An empty prefix is a prompt of its own, not the model's default.
            if prompt == "none":
                return np.asarray(embedder.encode(texts, prompt=""))
            return np.asarray(embedder.encode(texts, prompt_name=prompt))

        yield remembering(embed)


def remembering(embed: Embed) -> Embed:
    """Embed the same list of texts under the same prompt only once."""
    known: dict[tuple[int, str, str], Vectors] = {}

    def again(texts: list[str], prompt: str) -> Vectors:
        key = hash(tuple(texts)), texts[0], prompt
        if key not in known:
            known[key] = embed(texts, prompt)
        return known[key]

    return again


Measure = Callable[[Embed], float]


def _measures(sets: Path) -> Iterator[tuple[str, Measure]]:
    dev, sick = sets / "sts" / "stsb-en-dev.csv", sets / "sts" / "SICK_train.txt"
    if dev.exists():
        for size in (256, 128, 64, 32):
            yield f"STS-B dev, {size}", partial(evaluate.sts, path=dev, dimensions=size)
    if sick.exists():
        yield "SICK train", partial(evaluate.sts, path=sick)
    for name in ("xquad/en", "cranfield", "cisi", "cacm"):
        folder = sets / "retrieval" / name
        if not folder.exists():
            continue
        measure = partial(evaluate.retrieval, folder=folder)
        yield name, measure
        yield f"{name}, 64", partial(measure, dimensions=64)
        yield f"{name}, signs, then cosine", partial(measure, binary="cosine")
        yield f"{name}, signs only", partial(measure, binary="signs")
        for prompt in ("document", "none"):
            yield f"{name}, queries as {prompt}", partial(measure, query_prompt=prompt)
    train, test = (sets / "classification" / f"banking77_{part}.csv" for part in ("train", "test"))
    if test.exists():
        yield "Banking77 clusters", partial(evaluate.clustering, path=test)
        yield "Banking77 probe", partial(evaluate.classification, train=train, test=test)
