"""An Embedder in the place of a SentenceTransformer: its arguments, and the package's functions."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from jlocal import ArgumentError, Embedder, IgnoredArgumentWarning, ModelError
from jlocal.embed.compatibility import layers_on
from jlocal.models.starter import FILE

TEXTS = [
    "The cat sits outside.",
    "A man is playing guitar.",
    "I love pasta.",
    "The new movie is awesome.",
    "The cat plays in the garden.",
    "The new movie is so great.",
    "Do you like pizza?",
    "A man plays the guitar.",
]


@pytest.fixture(scope="module")
def model(starter: Embedder) -> Embedder:
    return starter


@pytest.fixture(scope="module")
def package() -> ModuleType:
    """Import it where it is needed: that takes seconds."""
    import sentence_transformers

    return sentence_transformers


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    """Import it in the one process that runs these tests."""
    import torch

    return torch


# Arguments


@pytest.mark.slow
def test_the_arguments_are_known_and_in_their_places(package: ModuleType) -> None:
    theirs = inspect.signature(package.SentenceTransformer).parameters
    assert not theirs.keys() - inspect.signature(Embedder).parameters.keys() - {"kwargs"}
    for name in ("encode", "encode_query", "encode_document"):
        theirs = inspect.signature(getattr(package.SentenceTransformer, name)).parameters
        named = [parameter for parameter in theirs if parameter not in ("self", "kwargs")]
        parameters = inspect.signature(getattr(Embedder, name)).parameters
        assert [*parameters][1 : 1 + len(named)] == named
        # An editor shows nothing of *args and **kwargs.
        kinds = {parameter.kind for parameter in parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def test_the_queries_and_documents_pass_all_arguments_on(model: Embedder) -> None:
    arguments = (None, "x: ", 4, False, "sentence_embedding", "int8", True, False, "cpu", True, 64)
    expected = model.encode("a cat", *arguments)
    assert expected.dtype == np.int8
    assert expected.shape == (64,)
    for encode in (model.encode_query, model.encode_document):
        assert (encode("a cat", *arguments) == expected).all()
        assert (encode(sentences="a cat", prompt="x: ", precision="int8", truncate_dim=64)
                == expected).all()  # fmt: skip
    assert (model.encode_query("a cat") == model.encode("a cat", "query")).all()
    assert (model.encode_document("a cat") == model.encode("a cat", "document")).all()
    assert (model.encode_document("a cat", "query") == model.encode("a cat", "query")).all()
    with pytest.raises(TypeError, match="normalise"):
        model.encode_query("a cat", normalise=True)


def test_one_warning_names_all_arguments_that_do_nothing() -> None:
    ignored = {
        "modules": ["transformer"], "cache_folder": "/models", "trust_remote_code": True,
        "revision": "main", "token": "hf_x", "use_auth_token": True,
        "model_kwargs": {"dtype": "bfloat16"}, "processor_kwargs": {"a": 1},
        "tokenizer_kwargs": {"a": 1}, "config_kwargs": {"a": 1}, "backend": "onnx",
    }  # fmt: skip
    with pytest.warns(IgnoredArgumentWarning) as caught:
        Embedder("starter", **ignored).close()
    (warning,) = caught
    assert warning.filename == __file__
    assert [name for name in ignored if f"{name} (" not in str(warning.message)] == []
    assert "no code of a model is ever run" in str(warning.message)
    assert "hf_x" not in str(warning.message)


def test_what_asks_for_nothing_else_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Embedder(
            model_name_or_path="starter", trust_remote_code=False, cache_folder=None, token=False,
            backend="torch", model_kwargs={"default_task": "retrieval"}, device="cpu",
            local_files_only=True, similarity_fn_name="dot", truncate_dim=64,
        ).close()  # fmt: skip


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="trust_remote"):
        Embedder("starter", trust_remote=True)


@pytest.mark.slow
def test_arguments_that_act(torch: ModuleType) -> None:
    with pytest.raises(ArgumentError, match="clustering"):
        Embedder("starter", model_kwargs={"default_task": "clustering"})
    with pytest.raises(ArgumentError, match="similarity_fn_name='angular'"):
        Embedder("starter", similarity_fn_name="angular")
    with pytest.raises(ArgumentError, match="modules"):
        Embedder(modules=["transformer"])
    with Embedder("starter", truncate_dim=64, device=torch.device("cpu")) as model:
        assert model.encode("a cat").shape == (64,)


def test_without_network_a_missing_model_says_how_to_carry_it_over() -> None:
    with pytest.raises(ModelError, match="jlocal bundle create"):
        Embedder("small", local_files_only=True)


@pytest.mark.slow
def test_devices(torch: ModuleType) -> None:
    assert layers_on(None, None) is None
    assert layers_on(None, 7) == 7
    assert layers_on("cpu", None) == 0
    assert layers_on(torch.device("cuda", 0), None) == -1
    assert layers_on("mps", 12) == 12
    for device, layers in (("cpu", 7), ("cuda", 0), ("abacus", None)):
        with pytest.raises(ArgumentError, match="device="):
            layers_on(device, layers)


@pytest.mark.slow
def test_the_default_model_is_that_of_the_command_line(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Embedder() as model:
        assert model.profile.path == FILE
    monkeypatch.setenv("JLOCAL_MODEL", str(model_file))
    with Embedder() as model:
        assert model.profile.path == model_file


# Similarities


@pytest.mark.slow
def test_tensors_come_back_where_tensors_came_in(model: Embedder, torch: ModuleType) -> None:
    tensors = model.encode(TEXTS, convert_to_tensor=True)
    arrays = model.encode(TEXTS)
    assert isinstance(tensors, torch.Tensor)
    expected = model.similarity(arrays, arrays)
    assert isinstance(expected, np.ndarray)
    for a, b in (
        (tensors, tensors), (tensors, arrays), (arrays, tensors), (list(tensors), arrays),
        (tensors.requires_grad_(), arrays),
    ):  # fmt: skip
        table = model.similarity(a, b)
        assert isinstance(table, torch.Tensor)
        assert table.shape == (len(TEXTS), len(TEXTS))
        assert (table.numpy() == expected).all()
        pairs = model.similarity_pairwise(a, b)
        assert isinstance(pairs, torch.Tensor)
        assert torch.allclose(pairs, torch.ones(len(TEXTS)))
    assert isinstance(model.similarity(tensors[0].bfloat16(), tensors), torch.Tensor)
    assert model.similarity(arrays[0], arrays).shape == (1, len(TEXTS))


@pytest.mark.slow
def test_similarities_are_those_of_sentence_transformers(package: ModuleType) -> None:
    from sentence_transformers.util import SimilarityFunction as Theirs

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 9, 16)).astype(np.float32)
    for name in ("cosine", "dot", "euclidean", "manhattan"):
        function = getattr(package, "SimilarityFunction", Theirs)(name)
        with Embedder("starter", similarity_fn_name=function) as model:
            assert model.similarity_fn_name == name
            theirs = Theirs.to_similarity_fn(name)(a, b).numpy()
            assert np.allclose(model.similarity(a, b), theirs, atol=1e-5)
            theirs = Theirs.to_similarity_pairwise_fn(name)(a, b).numpy()
            assert np.allclose(model.similarity_pairwise(a, b), theirs, atol=1e-5)


def test_vectors_of_another_length_within_a_with(model: Embedder) -> None:
    for within in (model.truncate_embeddings, model.truncate_sentence_embeddings):
        with within(32):
            assert model.encode("a cat").shape == (32,)
            assert model.get_embedding_dimension() == 32
        assert model.encode("a cat").shape == (256,)
    with pytest.raises(ArgumentError, match="dimensions, not 0"), model.truncate_embeddings(0):
        pass


def test_a_pool_of_processes_is_not_needed(model: Embedder) -> None:
    with pytest.warns(IgnoredArgumentWarning, match="already computes") as caught:
        pool = model.start_multi_process_pool(["cpu"] * 4)
    assert caught[0].filename == __file__
    expected = model.encode(TEXTS)
    assert (model.encode(TEXTS, pool=pool, chunk_size=2) == expected).all()
    assert (model.encode_multi_process(TEXTS, pool) == expected).all()
    model.stop_multi_process_pool(pool)


# Functions and evaluators of the package


@pytest.mark.slow
def test_semantic_search(model: Embedder, package: ModuleType) -> None:
    for convert in ({"convert_to_tensor": True}, {}):
        corpus = model.encode_document(TEXTS, **convert)
        query = model.encode_query("a guitar player", **convert)
        (hits,) = package.util.semantic_search(query, corpus, top_k=2)
        assert {hit["corpus_id"] for hit in hits} == {1, 7}


@pytest.mark.slow
def test_paraphrases(model: Embedder, package: ModuleType) -> None:
    pairs = package.util.paraphrase_mining(model, TEXTS, top_k=1)
    assert {tuple(sorted(pair[1:])) for pair in pairs[:2]} == {(3, 5), (1, 7)}
    embedded = model.encode(TEXTS, convert_to_tensor=True)
    assert package.util.paraphrase_mining_embeddings(embedded, top_k=1)[0][1:] == pairs[0][1:]
    groups = package.util.community_detection(embedded, threshold=0.5, min_community_size=2)
    assert {1, 7} in map(set, groups)


@pytest.mark.slow
def test_evaluators(model: Embedder, package: ModuleType, tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer import evaluation

    queries = {"1": "guitar", "2": "a film", "3": "Italian food"}
    corpus = {str(number): text for number, text in enumerate(TEXTS)}
    relevant = {"1": {"1", "7"}, "2": {"3", "5"}, "3": {"2", "6"}}
    left, right = ["A man is playing guitar.", "I love pasta."], ["A man plays it.", "A cat."]
    evaluators = [
        evaluation.EmbeddingSimilarityEvaluator(
            [*left, "The cat"], [*right, "The movie"], [0.9, 0.1, 0.0], name="sts",
            precision="float32",
        ),
        evaluation.InformationRetrievalEvaluator(
            queries, corpus, relevant, name="ir", ndcg_at_k=[5], accuracy_at_k=[1],
            precision_recall_at_k=[1], map_at_k=[5], mrr_at_k=[5], show_progress_bar=False,
        ),
        evaluation.TripletEvaluator(
            ["a guitar"], ["A man plays the guitar."], ["I love pasta."], name="triplet"
        ),
        evaluation.BinaryClassificationEvaluator(left, right, [1, 0], name="binary"),
        evaluation.ParaphraseMiningEvaluator(
            corpus, [("1", "7"), ("3", "5")], name="paraphrases"
        ),
        evaluation.RerankingEvaluator(
            [{"query": "guitar", "positive": [TEXTS[1]], "negative": [TEXTS[2], TEXTS[3]]}],
            name="reranking",
        ),
        evaluation.TranslationEvaluator(left, left, name="translation"),
        evaluation.MSEEvaluator(left, left, teacher_model=model, name="mse"),
    ]  # fmt: skip
    for evaluator in evaluators:
        metrics = evaluator(model, str(tmp_path))
        assert model.model_card_data.evaluation_metrics[evaluator.name] == metrics
        assert metrics[evaluator.primary_metric] > (-1 if evaluator.name == "mse" else 0.6)


@pytest.mark.slow
def test_evaluators_fill_a_model_card_of_the_package(package: ModuleType) -> None:
    from sentence_transformers.sentence_transformer.evaluation import TripletEvaluator

    card = package.SentenceTransformerModelCardData(local_files_only=True)
    with Embedder("starter", model_card_data=card) as model:
        evaluator = TripletEvaluator(["a guitar"], ["A man plays the guitar."], ["I love pasta."])
        metrics = evaluator(model)
    assert card.eval_results_dict[evaluator] == metrics
