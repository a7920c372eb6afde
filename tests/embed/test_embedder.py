"""Embedder as a user of sentence-transformers would call it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import jlocal
from jlocal import (
    ArgumentError,
    Embedder,
    ModelError,
    TextError,
    TextTooLongError,
    TruncationWarning,
)
from support.gguf_files import patch

TEXTS = ["a cat", "a kitten", "", "  ", "nul \0 inside", "e\u0301", "<|endoftext|>", "🙂", "a cat"]


@pytest.fixture(scope="module")
def model(converted) -> Iterator[Embedder]:
    with Embedder(converted("qwen3")) as model:
        yield model


@pytest.fixture(scope="module")
def nano(converted) -> Iterator[Embedder]:
    with Embedder(converted("eurobert", whole=True)) as model:
        yield model


def test_shapes_follow_the_input(model: Embedder) -> None:
    dimensions = model.get_embedding_dimension()
    assert model.encode("one").shape == (dimensions,)
    assert model.encode(["one"]).shape == (1, dimensions)
    assert model.encode([]).shape == (0, dimensions)
    assert model.encode([], precision="ubinary").shape == (0, dimensions // 8)
    assert model.encode(TEXTS).shape == (len(TEXTS), dimensions)
    assert model.encode(iter(TEXTS)).shape == (len(TEXTS), dimensions)
    assert model.encode(np.array(TEXTS)).shape == (len(TEXTS), dimensions)
    assert model.encode(sentences=TEXTS, task="retrieval").shape == (len(TEXTS), dimensions)
    assert isinstance(model.encode(TEXTS, convert_to_numpy=False), list)
    assert model.encode("one", convert_to_numpy=False).shape == (dimensions,)


def test_the_positions_of_sentence_transformers(model: Embedder) -> None:
    named = model.encode(
        TEXTS, prompt_name="query", batch_size=8, show_progress_bar=False, precision="float32"
    )
    placed = model.encode(TEXTS, "query", None, 8, False, "sentence_embedding", "float32")
    assert (named == placed).all()
    tensor = model.encode(TEXTS, prompt_name="query", convert_to_tensor=True)
    assert (tensor.numpy() == named).all()


def test_prompts(model: Embedder) -> None:
    query = model.encode("x", prompt_name="query")
    assert (model.encode_query("x") == query).all()
    assert (model.encode("x", prompt="Query: ") == query).all()
    assert (model.encode("Query: x", prompt="") == query).all()
    assert (model.encode("x") == model.encode_document("x")).all()
    assert (model.encode("x") == model.encode("x", prompt_name="document")).all()
    assert model.prompts == {"query": "Query: ", "document": "Document: "}
    assert model.default_prompt_name == "document"
    with pytest.raises(ArgumentError, match="query, document"):
        model.encode("x", prompt_name="passage")


@pytest.mark.slow
def test_prompts_of_ones_own(converted) -> None:
    prompts = {"passage": "Document: "}
    with Embedder(converted("qwen3"), prompts=prompts, default_prompt_name="passage") as model:
        assert model.prompts == prompts
        assert (model.encode("x") == model.encode("x", prompt="Document: ")).all()
        assert (model.encode_query("x") == model.encode("x")).all()
    with pytest.raises(ArgumentError, match="nothing"):
        Embedder(converted("qwen3"), prompts=prompts, default_prompt_name="nothing")


def test_truncation_is_matryoshka(model: Embedder) -> None:
    full = model.encode(TEXTS)
    cut = model.encode(TEXTS, truncate_dim=32)
    expected = full[:, :32] / np.linalg.norm(full[:, :32], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-6)
    for bad in (0, -1, model.profile.dimensions + 1):
        with pytest.raises(ArgumentError, match="dimensions"):
            model.encode("x", truncate_dim=bad)


@pytest.mark.slow
def test_default_dimension(converted) -> None:
    with Embedder(converted("qwen3"), truncate_dim=32) as model:
        assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == 32
        assert model.encode("x").shape == (32,)
        assert model.encode("x", truncate_dim=64).shape == (64,)


def test_task_of_the_file(model: Embedder, converted) -> None:
    with pytest.raises(ArgumentError, match="clustering"):
        model.encode("x", task="clustering")
    with pytest.raises(ArgumentError, match="clustering"):
        Embedder(converted("qwen3"), task="clustering")


@pytest.mark.slow
def test_stream_is_encode(model: Embedder) -> None:
    texts = [f"text {number}" for number in range(3000)] + TEXTS
    streamed = np.stack(list(model.stream(text for text in texts)))
    encoded = model.encode(texts)
    np.testing.assert_allclose(streamed, encoded, atol=1e-6)
    alone = np.stack([model.encode(text) for text in texts[::500]])
    assert (streamed[::500] * alone).sum(axis=1).min() > 0.9999


def test_stream_is_lazy(model: Embedder) -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            yield f"text {number}"
            number += 1

    stream = model.stream(endless())
    assert next(stream).shape == (model.get_embedding_dimension(),)


def test_progress_counts_every_text(model: Embedder) -> None:
    seen = []
    texts = ["same", "same", "other"] * 10
    list(model.stream(texts, on_texts=lambda *step: seen.append(step)))
    assert sum(texts for texts, _ in seen) == 30
    assert sum(tokens for _, tokens in seen) == sum(
        len(model.tokenize(text, "Document: ")) for text in ("same", "other")
    )


def test_what_is_no_text(model: Embedder) -> None:
    with pytest.raises(TextError, match="text 1 has a lone surrogate at character 2"):
        model.encode(["good", "ab\ud800"])
    with pytest.raises(TextError, match="text 0 is of type bytes"):
        model.encode([b"bytes"])
    with pytest.raises(TextError, match="text 0 is empty"):
        model.encode([""], prompt="")
    vectors = list(model.stream(["good", "\ud800", "", "good"], prompt="", errors="return"))
    assert [isinstance(vector, TextError) for vector in vectors] == [False, True, True, False]
    assert (vectors[0] == vectors[3]).all()


def test_nano_has_a_token_for_the_empty_text(nano: Embedder) -> None:
    assert nano.tokenize("").tolist() == [128001]
    assert nano.encode("", prompt="").shape == (nano.get_embedding_dimension(),)


@pytest.mark.slow
def test_too_long(nano: Embedder, converted, tmp_path: Path) -> None:
    long = "word " * 1500
    path = tmp_path / "short.gguf"
    patch(converted("eurobert", whole=True), path, "eurobert.context_length", 8192, 1000)
    with Embedder(path) as model, pytest.raises(TextTooLongError) as caught:
        model.encode(["short", long])
    assert (caught.value.index, caught.value.limit) == (1, 1000)
    assert caught.value.tokens == len(nano.tokenize(long, "Document: "))
    with Embedder(path, on_long="truncate") as cutting:
        with pytest.warns(TruncationWarning, match="text 1 was cut from 1,50. to 1,000 tokens"):
            vectors = cutting.encode(["short", long])
        tokens = nano.tokenize(long, "Document: ")
        kept = np.concatenate([tokens[:999], tokens[-1:]])
        expected = nano._model.runtime.scheduler.submit_job([kept]).result()[0]
        assert vectors[1] @ expected / np.linalg.norm(expected) > 0.9999
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cutting.encode("short")


def test_what_comes_before_a_bad_text_is_delivered(model: Embedder) -> None:
    def texts() -> Iterator[str]:
        yield from (f"text {number}" for number in range(500))
        raise OSError("the source failed")

    for inputs, error in (([*map(str, range(500)), None], TextError), (texts(), OSError)):
        delivered = []
        with pytest.raises(error):
            delivered.extend(model.stream(inputs))  # type: ignore[arg-type]
        assert len(delivered) >= 448


def test_arguments_are_checked(model: Embedder, converted) -> None:
    for arguments in ({"on_long": "cut"}, {"threads": 0}, {"threads": -1}, {"truncate_dim": 4096}):
        with pytest.raises(ArgumentError):
            Embedder(converted("qwen3"), **arguments)
    with pytest.raises(ArgumentError, match="iterable"):
        model.stream("one text")
    with pytest.raises(ArgumentError, match="errors"):
        model.stream(["x"], errors="ignore")
    with pytest.raises(ArgumentError, match="output_value"):
        model.encode("x", output_value="token_embeddings")
    with pytest.raises(ArgumentError, match="float32"):
        model.encode("x", precision="int4")
    with pytest.raises(TextError, match="surrogate in its prompt"):
        model.encode("x", prompt="\ud800")


@pytest.mark.slow
def test_a_shorter_limit(converted) -> None:
    with Embedder(converted("qwen3")) as model:
        model.max_seq_length = 8
        model.encode("short")
        with pytest.raises(TextTooLongError, match="limit of 8"):
            model.encode("word " * 8)
        with pytest.raises(ArgumentError):
            model.max_seq_length = 40_000


@pytest.mark.slow
def test_prompts_of_other_families(converted) -> None:
    prompts = {"query": "q: ", "passage": "p: "}
    with Embedder(converted("qwen3"), prompts=prompts) as model:
        assert (model.encode_document("x") == model.encode("p: x", prompt="")).all()
        assert (model.encode_query("x", None, "q: ") == model.encode_query(sentences="x")).all()
        assert (model.encode("x") == model.encode("x", prompt="")).all()


@pytest.mark.slow
def test_closing_ends_what_goes_on(converted) -> None:
    """Neither the queue nor a text that is being tokenised keeps a model, or is left in it."""
    model = Embedder(converted("qwen3"))
    stream = model.stream("word " * 300 + str(number) for number in range(3000))
    next(stream)
    started, errors = threading.Event(), []

    def tokenize() -> None:
        started.set()
        try:
            while True:
                model.tokenize("ab cd efgh ij " * 100_000)
        except ModelError as error:
            errors.append(error)

    thread = threading.Thread(target=tokenize)
    thread.start()
    started.wait()
    begin = time.monotonic()
    model.close()
    assert time.monotonic() - begin < 5
    thread.join()
    assert "closed" in str(errors[0])
    with pytest.raises(ModelError, match="closed"):
        list(stream)


@pytest.mark.slow
def test_callers_take_turns(converted) -> None:
    with Embedder(converted("qwen3")) as model:
        stream = model.stream("word " * 300 + str(number) for number in range(3000))
        next(stream)
        turns = []
        thread = threading.Thread(target=lambda: turns.append(model.encode("a question")))
        thread.start()
        thread.join(20)
        assert len(turns) == 1
        stream.close()


@pytest.mark.slow
def test_closed(converted) -> None:
    model = Embedder(converted("qwen3"))
    model.close()
    model.close()
    with pytest.raises(ModelError, match="closed"):
        model.encode("x")


def test_many_threads_one_model(model: Embedder) -> None:
    expected = model.encode([f"text {number}" for number in range(40)])
    found: dict[int, np.ndarray] = {}

    def work(start: int) -> None:
        for number in range(start, 40, 8):
            found[number] = model.encode(f"text {number}")

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = np.stack([found[number] for number in range(40)])
    assert (got * expected).sum(axis=1).min() > 0.9999


def test_similarity(model: Embedder) -> None:
    vectors = model.encode(TEXTS)
    assert model.similarity(vectors[0], vectors).shape == (1, len(TEXTS))
    assert model.similarity(vectors, vectors)[0, -1] == pytest.approx(1, abs=1e-5)
    assert model.similarity_pairwise(vectors, vectors) == pytest.approx(1, abs=1e-5)
    assert model.similarity_fn_name == "cosine"
    bits = model.encode(TEXTS, precision="ubinary")
    with pytest.raises(ArgumentError, match="Hamming"):
        model.similarity(bits, bits)


@pytest.mark.slow
def test_pooling_of_files_that_name_none(converted, tmp_path: Path) -> None:
    source = converted("qwen3")
    path = tmp_path / "model.gguf"
    patch(source, path, "qwen3.pooling_type", 3, 4)
    with pytest.raises(ModelError, match="reranker"):
        Embedder(path)
    patch(source, path, "qwen3.pooling_type", 3, 0)
    with pytest.raises(ModelError, match="pooling='last'"):
        Embedder(path)
    with Embedder(path, pooling="last") as model, Embedder(source) as same:
        assert (model.encode("x") == same.encode("x")).all()
    with Embedder(path, pooling="mean") as mean:
        assert mean.encode(TEXTS).shape == (len(TEXTS), mean.profile.dimensions)
        assert mean.encode(TEXTS)[0] @ same_vector(source, "a cat") < 0.999


def same_vector(path: Path, text: str) -> np.ndarray:
    with Embedder(path) as model:
        return model.encode(text)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_cut_files(converted, keep: float, tmp_path: Path) -> None:
    data = converted("qwen3").read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelError) as caught:
        Embedder(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_importing_jlocal_is_cheap() -> None:
    heavy = ("llama_cpp", "numpy", "gguf")
    code = f"import jlocal, sys; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    with pytest.raises(AttributeError):
        jlocal.nothing  # noqa: B018
