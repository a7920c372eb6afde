"""A SentenceTransformer on llama.cpp gives what an Embedder gives; evaluators agree on both."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal import ArgumentError, Embedder, TextError, TextTooLongError
from support.alike import assert_alike

sentence_transformers = pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer  # noqa: E402

import mteb_sets  # noqa: E402
from jlocal.integrations.sentence_transformers import (  # noqa: E402
    JlocalModule,
    sentence_transformer,
)

# The packages that it imports take seconds.
pytestmark = pytest.mark.slow

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


def test_a_shorter_limit_acts_and_what_is_no_text_is_named() -> None:
    transformer = sentence_transformer("starter")
    assert transformer.max_seq_length == 4096
    transformer.max_seq_length = 8
    with pytest.raises(TextTooLongError, match="limit of 8"):
        transformer.encode("cats " * 50)
    assert sentence_transformer("starter").max_seq_length == 4096
    with pytest.raises(TextError, match="text 1 is missing"):
        transformer.encode(["a", None])


def evaluators() -> dict:
    from sentence_transformers.sentence_transformer.evaluation import (
        EmbeddingSimilarityEvaluator,
        InformationRetrievalEvaluator,
        TripletEvaluator,
    )

    asked = mteb_sets.questions()
    first, second, scores = map(list, zip(*PAIRS, strict=True))
    return {
        "retrieval": InformationRetrievalEvaluator(
            {question: question for question, _ in asked},
            mteb_sets.notes(),
            {question: {note} for question, note in asked},
            write_csv=False,
        ),
        "similarity": EmbeddingSimilarityEvaluator(first, second, scores, write_csv=False),
        "triplets": TripletEvaluator(
            ["A cat sleeps.", "The team meets."],
            ["The cat is asleep.", "A meeting of the team."],
            ["Shares fell on Monday.", "Bread is baked at night."],
            write_csv=False,
        ),
    }


@pytest.mark.parametrize("name", ["retrieval", "similarity", "triplets"])
def test_evaluators_give_the_figures_of_the_checkpoint(
    name: str, starter_files: dict[str, Path], checkpoint_transformer: SentenceTransformer
) -> None:
    evaluator = evaluators()[name]
    expected = evaluator(checkpoint_transformer)
    with Embedder(starter_files["F16"]) as embedder:
        of_embedder = evaluator(embedder)
    of_module = evaluator(sentence_transformer(starter_files["F16"]))
    assert len(expected) >= 1
    assert of_embedder == pytest.approx(expected, abs=0.001)
    assert of_module == pytest.approx(expected, abs=0.001)
    assert 0.5 < expected[evaluator.primary_metric] <= 1
