"""The recipe from texts to checkpoint. Each stage stores its result, and is not repeated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from starter import adapters, checkpoint, sources, static, tasks, teacher, tokenizer, train
from starter.adapters import Pool
from starter.batches import Ids, encode
from starter.network import Network, Shape
from starter.stages import Weights, kept, load_json, load_weights, save_json, save_weights

BASIS = 256


@dataclass(frozen=True)
class Sizes:
    """Numbers of texts and steps; the defaults made the model that comes with jlocal."""

    lines: int = 600_000
    passages: int = 60_000
    vocabulary: int = 16_384
    hidden: int = 256
    layers: int = 4
    steps: int = 3_700
    adapter_steps: int = 2_400
    clusters: int = 256
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
        work: folder for the results of the stages; existing results are used.
        output: folder for the checkpoint.
        sizes: numbers of texts and steps.

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
    ids = encode(bpe, lines), encode(bpe, passages)
    network = Network(Shape(vocabulary=sizes.vocabulary, hidden=sizes.hidden, layers=sizes.layers))
    both = ids[0].followed_by(ids[1])
    for name, stage in (
        ("start.pt", lambda: _start(network, bpe, both, corpus)),
        ("backbone.pt", lambda: _backbone(network, both, corpus, sizes)),
    ):
        weights = kept(work / name, stage, load_weights, save_weights)
        network.load_state_dict(weights)
    checkpoint.write_backbone(network, bpe, output)
    width = len(lines)
    known = tasks.Known(
        lines,
        Pool(ids[0], corpus.targets[:width]),
        passages,
        Pool(ids[1], corpus.targets[width:]),
    )
    makers = tasks.Makers(data, work, bpe, sizes.workers, sizes.sentences)
    for task, losses in tasks.recipes(known, makers, sizes.clusters).items():
        adapters.train(network, losses, sizes.adapter_steps, task)
        checkpoint.write_adapter(network, task, output)


def _texts(data: Path, sizes: Sizes) -> dict[str, list[str]]:
    lines, passages = sources.sample(data)
    return {"lines": lines[: sizes.lines], "passages": passages[: sizes.passages]}


def _for_tokenizer(lines: list[str], passages: list[str]) -> list[str]:
    """Put a space before most texts, as after a prompt; leave some texts as they are."""
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
        # The basis is made once: vectors in two bases cannot be learnt together.
        np.save(work / "basis.npy", basis)
        return teacher.change_basis(vectors, basis)

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
    # Halfway back to the start, it is better on tasks it was not trained on than at either end;
    # https://arxiv.org/abs/2109.01903 (WiSE-FT).
    return {name: (start[name] + end) / 2 for name, end in network.state_dict().items()}
