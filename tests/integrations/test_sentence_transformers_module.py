"""A SentenceTransformer on llama.cpp gives what an Embedder gives, and its evaluators agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal import ArgumentError, Embedder
from support.alike import assert_alike

sentence_transformers = pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer  # noqa: E402

from jlocal.integrations.sentence_transformers import (  # noqa: E402
    JlocalModule,
    sentence_transformer,
)

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow

QUERIES = {"q0": "how is data kept safe?", "q1": "when do we meet?", "q2": "who chases mice?"}
PAIRS = [
    ("A cat sleeps.", "The cat is asleep.", 0.95),
    ("A cat sleeps.", "Shares fell on Monday.", 0.05),
    ("A man plays the guitar.", "Someone makes music.", 0.7),
    ("The team meets on Tuesday.", "A meeting of the team.", 0.8),
    ("The team meets on Tuesday.", "Bread is baked at night.", 0.1),
]


@pytest.fixture(scope="module")
def transformer() -> SentenceTransformer:
    return sentence_transformer("starter")


def test_vectors_are_those_of_the_embedder(
    transformer: SentenceTransformer, starter: Embedder, texts: list[str]
) -> None:
    for name in ("encode", "encode_query", "encode_document"):
        assert_alike(getattr(transformer, name)(texts), getattr(starter, name)(texts))
    short = transformer.encode_query(texts, truncate_dim=64, normalize_embeddings=True)
    assert_alike(short, starter.encode_query(texts, truncate_dim=64))
    assert transformer.get_embedding_dimension() == 256
    assert_alike(
        SentenceTransformer(modules=[JlocalModule("starter")], device="cpu").encode(texts),
        starter.encode(texts, prompt=""),
    )


def test_it_is_saved_and_loaded(tmp_path: Path, starter: Embedder, texts: list[str]) -> None:
    sentence_transformer("starter", truncate_dim=64).save(str(tmp_path), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path), trust_remote_code=True, device="cpu")
    assert_alike(loaded.encode_query(texts), starter.encode_query(texts, truncate_dim=64))


def test_wrong_arguments_fail_when_it_is_made() -> None:
    with pytest.raises(ArgumentError, match="999"):
        JlocalModule("starter", truncate_dim=999)


def evaluators(texts: list[str]) -> list:
    from sentence_transformers.sentence_transformer.evaluation import (
        EmbeddingSimilarityEvaluator,
        InformationRetrievalEvaluator,
        TripletEvaluator,
    )

    corpus = {f"d{number}": text for number, text in enumerate(texts)}
    first, second, scores = map(list, zip(*PAIRS, strict=True))
    return [
        InformationRetrievalEvaluator(
            QUERIES, corpus, {f"q{n}": {f"d{n}"} for n in range(3)}, write_csv=False
        ),
        EmbeddingSimilarityEvaluator(first, second, scores, write_csv=False),
        TripletEvaluator(
            ["A cat sleeps.", "The team meets."],
            ["The cat is asleep.", "A meeting of the team."],
            ["Shares fell on Monday.", "Bread is baked at night."],
            write_csv=False,
        ),
    ]


@pytest.mark.parametrize("number", range(3))
def test_evaluators_give_the_figures_of_the_embedder(
    number: int, transformer: SentenceTransformer, starter: Embedder, texts: list[str]
) -> None:
    evaluator = evaluators(texts)[number]
    of_ours, of_theirs = evaluator(starter), evaluator(transformer)
    assert of_ours.keys() == of_theirs.keys()
    assert of_ours == pytest.approx(of_theirs, abs=0.001)
    assert len(of_ours) >= 1
