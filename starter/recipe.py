"""The recipe from texts to checkpoint. Each stage keeps its product and is not done twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from starter import adapters, checkpoint, sentences, sources, static, teacher, tokenizer, train
from starter.adapters import Pool, Rows
from starter.batches import Ids, encode
from starter.network import Network, Shape

MOST_TOKENS = 384
BASIS = 256
# Which lines an adapter is trained on.
SHORT = r"(?=.{12,120}$)(\S+ ){2,}"
SENTENCE = r"(?=.{16,160}$)[A-Z]\S* (\S+ ){2,}"
QUESTION = r"(?=.{12,120}$)(\S+ ){2,}.*\?$|(?=.{12,80}$)(\S+ ){2,8}\S+$"
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults made the model that ships."""

    lines: int = 600_000
    passages: int = 60_000
    vocabulary: int = 16_384
    hidden: int = 256
    layers: int = 4
    steps: int = 3_700
    adapter_steps: int = 300
    clusters: int = 512
    sentences: int = 20_000
    workers: int = 2


@dataclass(frozen=True)
class Corpus:
    """Lines and passages, and the teacher's vectors of both in the common basis."""

    lines: list[str]
    passages: list[str]
    targets: NDArray[np.float16]
    alone: NDArray[np.float16]


def run(data: Path, work: Path, output: Path, sizes: Sizes) -> None:
    """Make the checkpoint.

    Args:
        data: folder of the texts, see sources.
        work: folder for the products of the stages; what is there is used.
        output: folder for the checkpoint.
        sizes: how much of everything.

    """
    work.mkdir(parents=True, exist_ok=True)
    texts = kept(work / "texts.json", lambda: _texts(data, sizes), load_json, save_json)
    lines, passages = texts["lines"], texts["passages"]
    bpe = kept(
        work / "tokenizer.json",
        lambda: tokenizer.train(_for_tokenizer(lines, passages), sizes.vocabulary),
        lambda path: Tokenizer.from_file(str(path)),
        lambda path, made: made.save(str(path)),
    )
    corpus = _taught(work, lines, passages, bpe, sizes)
    ids = encode(bpe, lines, MOST_TOKENS), encode(bpe, passages, MOST_TOKENS)
    network = Network(Shape(vocabulary=sizes.vocabulary, hidden=sizes.hidden, layers=sizes.layers))
    both = ids[0].followed_by(ids[1])
    for name, stage in (
        ("start.pt", lambda: _start(network, bpe, both, corpus)),
        ("backbone.pt", lambda: _backbone(network, both, corpus, sizes)),
    ):
        weights = kept(work / name, stage, load_weights, lambda path, made: torch.save(made, path))
        network.load_state_dict(weights)
    checkpoint.write_backbone(network, bpe, output)
    made = kept(work / "sentences.json", lambda: _sentences(lines, sizes), load_json, save_json)
    taught = kept(
        work / "sentences.npy",
        lambda: teacher.turned(teacher.encode(made, sizes.workers), np.load(work / "basis.npy")),
        np.load,
        np.save,
    )
    pairs = Pool(encode(bpe, made, MOST_TOKENS), taught)
    _adapters(network, ids, corpus, pairs, sizes, output)


def kept(
    path: Path,
    make: Callable[[], Any],
    load: Callable[[Path], Any],
    save: Callable[[Path, Any], None],
) -> Any:
    """Load what a stage made before, or make and save it."""
    if not path.exists():
        print(f"{path.stem}:", flush=True)
        aside = path.with_name(f"partial-{path.name}")
        save(aside, make())
        aside.replace(path)
    return load(path)


def load_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def save_json(path: Path, values: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(values), encoding="utf-8")


def load_weights(path: Path) -> Weights:
    """Read weights, and nothing else."""
    weights: Weights = torch.load(path, weights_only=True)
    return weights


def _texts(data: Path, sizes: Sizes) -> dict[str, list[str]]:
    lines, passages = sources.sample(data)
    return {"lines": lines[: sizes.lines], "passages": passages[: sizes.passages]}


def _for_tokenizer(lines: list[str], passages: list[str]) -> list[str]:
    """Most texts as they follow a prompt, with a space before, some as they are."""
    return [
        *(f" {line}" for line in lines[:400_000]),
        *lines[400_000:500_000],
        *passages[:20_000],
    ]


def _taught(
    work: Path, lines: list[str], passages: list[str], bpe: Tokenizer, sizes: Sizes
) -> Corpus:
    def make() -> NDArray[np.float16]:
        words = [bpe.decode([i]).strip() or " " for i in range(sizes.vocabulary)]
        vectors = teacher.encode([*lines, *passages, *words], sizes.workers)
        basis = teacher.basis(vectors[: len(lines) + len(passages)], BASIS)
        # Made once: vectors in two bases cannot be learnt together.
        np.save(work / "basis.npy", basis)
        return teacher.turned(vectors, basis)

    targets = kept(work / "targets.npy", make, np.load, np.save)
    return Corpus(lines, passages, targets[: -sizes.vocabulary], targets[-sizes.vocabulary :])


def _start(network: Network, bpe: Tokenizer, both: Ids, corpus: Corpus) -> Weights:
    torch.manual_seed(0)
    width = network.shape.hidden - static.CHANNELS
    texts = [both.text(i) for i in range(len(both))]
    vectors = static.fit(texts, corpus.targets[:, :width], corpus.alone[:, :width])
    static.start(network, vectors, tokenizer.end_of(bpe))
    return dict(network.state_dict())


def _backbone(network: Network, both: Ids, corpus: Corpus, sizes: Sizes) -> Weights:
    start = {name: weight.clone() for name, weight in network.state_dict().items()}
    train.backbone(network, both, corpus.targets, sizes.steps, workers=sizes.workers)
    # Halfway back to the start it is better on what it was not trained on than either end is;
    # https://arxiv.org/abs/2109.01903 (WiSE-FT).
    return {name: (start[name] + end) / 2 for name, end in network.state_dict().items()}


def _sentences(lines: list[str], sizes: Sizes) -> list[str]:
    real = [lines[i] for i in chosen(lines, SENTENCE, sizes.sentences)]
    scenes = sentences.scenes(sizes.sentences * 7 // 10)
    made = sentences.variants([*real, *scenes], sizes.sentences)
    return list(dict.fromkeys([*real, *made, *scenes]))


def _adapters(
    network: Network,
    ids: tuple[Ids, Ids],
    corpus: Corpus,
    pairs: Pool,
    sizes: Sizes,
    output: Path,
) -> None:
    lines = Pool(ids[0], corpus.targets[: len(corpus.lines)])
    passages = Pool(ids[1], corpus.targets[len(corpus.lines) :])
    queries = chosen(corpus.lines, QUESTION, 30_000)
    short = chosen(corpus.lines, SHORT, 60_000)
    recipes = {
        "retrieval": lambda n: adapters.retrieval(n, lines, queries, passages),
        "text-matching": lambda n: adapters.text_matching(n, pairs),
        "clustering": lambda n: adapters.clustering(n, lines, short, clusters=sizes.clusters),
        "classification": lambda n: adapters.classification(n, lines, short),
    }
    for task, losses in recipes.items():
        adapters.train(network, losses, sizes.adapter_steps, task)
        checkpoint.write_adapter(network, task, output)


def chosen(texts: list[str], pattern: str, most: int) -> Rows:
    """Find the first texts that a pattern matches."""
    matching = re.compile(pattern).match
    return np.array([i for i, text in enumerate(texts) if matching(text)][:most])
