"""The recipe of the starter model lives: a small slice trains, and beats its own start."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from jlocal import Embedder
from jlocal_convert import convert
from starter import checkpoint, evaluate, questions, recipe, sources, stages, static, teacher
from starter.batches import Ids, batches, encode
from starter.loss import distance
from starter.network import Network, Shape, adapt
from starter.tokenizer import END, train
from support.reference import Reference

# torch alone takes seconds to import.
pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data" / "starter"
HELD_OUT = 400
SIZES = recipe.Sizes(
    lines=3_000,
    passages=150,
    vocabulary=2_048,
    hidden=64,
    layers=2,
    steps=80,
    adapter_steps=6,
    clusters=16,
    sentences=200,
    workers=2,
)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return sources.read(DATA, next(s for s in sources.SOURCES if s.name == "oewn"))


@pytest.fixture(scope="module")
def bpe(lines: list[str]) -> Tokenizer:
    return train(lines, 1_024)


@pytest.fixture(scope="module")
def trained(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the work and the checkpoint of a run over all but the last lines."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "data").mkdir()
    shutil.copy(DATA / "scitldr-train.txt", folder / "data")
    (folder / "data" / "oewn.txt").write_text("\n".join(lines[:-HELD_OUT]))
    recipe.run(folder / "data", folder / "work", folder / "tiny", SIZES)
    return folder


def loss(network: Network, ids: Ids, wanted: torch.Tensor) -> float:
    with torch.inference_mode():
        made = network(*ids.pad(np.arange(len(ids)), np.zeros(len(ids), bool)))
    return distance(made, wanted).item()


def test_training_beats_its_own_start(trained: Path, lines: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(trained / "work" / "tokenizer.json"))
    ids = encode(tokenizer, lines[-HELD_OUT:], 128)
    texts = json.loads((trained / "work" / "texts.json").read_text())
    vectors = teacher.encode([*texts["lines"], *texts["passages"]])
    basis = teacher.basis(vectors, recipe.BASIS)
    wanted = teacher.change_basis(teacher.encode(lines[-HELD_OUT:]), basis).astype(np.float32)
    target = functional.normalize(torch.from_numpy(wanted), dim=-1)
    network = Network(Shape(SIZES.vocabulary, SIZES.hidden, SIZES.layers))
    losses = {}
    for stage in ("start", "backbone"):
        network.load_state_dict(stages.load_weights(trained / "work" / f"{stage}.pt"))
        losses[stage] = loss(network, ids, target)
    assert losses["backbone"] < 0.98 * losses["start"]


def test_its_checkpoint_converts_and_gives_the_same_vectors(trained: Path, tmp_path: Path) -> None:
    files = convert(trained / "tiny", tasks=["all"], types=["F32"], output=tmp_path)
    assert len(files) == len(checkpoint.TASKS)
    texts = ["a soft warm light", "Graph networks learn from few labels.", "x"]
    for task, file in zip(sorted(checkpoint.TASKS), sorted(files), strict=True):
        wanted = Reference(trained / "tiny", task).encode(texts, "Query: ")
        with Embedder(file) as embedder:
            got = embedder.encode(texts, prompt_name="query")
        assert (got * wanted).sum(axis=1).min() > 0.99999


def test_a_second_run_takes_what_is_there(trained: Path, tmp_path: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (trained / "work").iterdir()}
    recipe.run(trained / "data", trained / "work", tmp_path / "tiny", SIZES)
    assert {file: file.stat().st_mtime_ns for file in (trained / "work").iterdir()} == before
    weights = [folder / "model.safetensors" for folder in (trained / "tiny", tmp_path / "tiny")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_network_is_qwen3(bpe: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = Network(Shape(1_024, 64, 3))
    adapt(network, 4, 8)
    for parameter in network.parameters():
        parameter.data = (parameter + 0.05 * torch.randn_like(parameter)).bfloat16().float()
    checkpoint.write_backbone(network, bpe, tmp_path)
    checkpoint.write_adapter(network, "clustering", tmp_path)
    texts = ["", "one", "a longer text, of several words", "naïve 😀 " * 30]
    ids = encode(bpe, texts, 4_096)
    with torch.inference_mode():
        made = network(*ids.pad(np.arange(len(ids)), np.zeros(len(ids), bool))).numpy()
    wanted = Reference(tmp_path, "clustering").encode(texts, "Document: ")
    assert np.abs(made - wanted).max() < 1e-4


def test_the_start_is_the_weighted_average(bpe: Tokenizer, lines: list[str]) -> None:
    torch.manual_seed(2)
    shape = Shape(1_024, 64, 3)
    vectors = torch.randn(1_024, shape.hidden - static.CHANNELS)
    vectors *= torch.exp(torch.rand(1_024, 1) * 4 - 2)
    network = Network(shape)
    static.start(network, vectors, bpe.token_to_id(END))
    ids = encode(bpe, lines[:50], 128)
    with torch.inference_mode():
        made = network(*ids.pad(np.arange(50), np.zeros(50, bool)))
    for row in range(50):
        words = torch.from_numpy(ids.text(row)[:-1].astype(np.int64))
        average = functional.normalize(vectors[words].sum(0), dim=0)
        assert torch.dot(made[row, : len(average)], average) > 0.999


def test_batches_hold_every_text_at_most_once() -> None:
    lengths = np.random.default_rng(0).integers(3, 300, 2_000)
    seen = np.concatenate(list(batches(lengths, 1_024, np.random.default_rng(1))))
    assert len(np.unique(seen)) == len(seen) > 1_900


def test_punctuation_of_a_treebank_is_set_right_and_pairs_are_left_out() -> None:
    lines = [
        "At this time , the town had one store ( a saloon ) and few houses .",
        "At this time , the town did not have a store ; it was n't large .",
        "Churchill 's party was narrowly defeated `` at home '' in 1951 .",
        "Too short .",
    ]
    assert questions.sentences(lines) == [
        "At this time, the town had one store (a saloon) and few houses.",
        'Churchill\'s party was narrowly defeated "at home" in 1951.',
    ]


def test_near_sentences_are_gathered_once_each() -> None:
    texts = [f"Sentence {i} speaks of matter number {i % 8} and nothing else." for i in range(40)]
    matters = np.eye(8, dtype=np.float16)[np.arange(40) % 8]
    passages, asked = questions.gather(texts, matters, random.Random(0))
    assert sorted(t for p in passages for t in texts if t in p) == sorted(texts)
    assert all(len({t[-20:] for t in texts if t in p}) == 1 for p in passages)
    assert len(passages) < 20
    assert len(passages) <= len(asked) <= 2 * len(passages)


def test_a_question_keeps_words_of_its_sentence_in_their_order() -> None:
    sentence = "Attlee was defeated by Churchill in the general election of 1951."
    for seed in range(50):
        question = questions.cloze(sentence, random.Random(seed))
        assert question is not None
        assert question.endswith("?")
        words = iter(sentence.rstrip(".").split())
        asking = max((a for a in questions.ASKING if question.startswith(a)), key=len)
        kept = question[len(asking) : -1].split()
        assert 4 <= len(kept) < 11
        assert all(word in words for word in kept)
    assert questions.cloze("Four words are few.", random.Random(0)) is None


# The measures


def test_ndcg() -> None:
    # (1 / log2(3) + 2 / log2(4)) / (2 / log2(2) + 1 / log2(3))
    assert evaluate.ndcg(["x", "a", "b"], {"a": 1, "b": 2}) == pytest.approx(0.6199, abs=1e-4)
    assert evaluate.ndcg(["b", "a"], {"a": 1, "b": 2}) == 1
    assert evaluate.ndcg(["x"], {"a": 1}) == 0


def test_spearman_with_ties() -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    a, b = random.integers(0, 5, 200), random.random(200)
    b += a * 0.2
    expected = spearmanr(a, b).statistic
    assert evaluate.spearman(a, b) == pytest.approx(expected)


def test_retrieval_reads_the_usual_layout(tmp_path: Path) -> None:
    rows = {"d1": "apple", "d2": "pear", "d3": "plum"}
    documents = [json.dumps({"_id": k, "title": "", "text": v}) for k, v in rows.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(documents))
    queries = {"q1": "apple", "q2": "plum", "unjudged": "pear"}
    asked = [json.dumps({"_id": k, "text": v}) for k, v in queries.items()]
    (tmp_path / "queries.jsonl").write_text("\n".join(asked))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")

    def embed(texts: list[str], prompt: str) -> evaluate.Vectors:
        order = list(rows.values())
        return np.eye(3, dtype=np.float32)[[order.index(text) for text in texts]]

    # The second query finds its document after its own word and the tie before it.
    assert evaluate.retrieval(embed, tmp_path) == pytest.approx((1 + 1 / np.log2(4)) / 2)
