"""An Embedder that is pickled loads itself again, in whichever process it arrives."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jlocal import ArgumentError, Embedder, ModelError
from jlocal.models.starter import FILE

TEXTS = ["a cat", "a kitten", "a stock exchange"]


@pytest.fixture(scope="module")
def model() -> Iterator[Embedder]:
    with Embedder("starter", threads=1) as model:
        yield model


def _encode(model: Embedder, text: str) -> np.ndarray:
    return model.encode(text)


@pytest.mark.slow
def test_options_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(FILE, tmp_path / "model.gguf")
    monkeypatch.chdir(tmp_path)
    with Embedder(
        "model.gguf", threads=1, truncate_dim=64, prompts={"a": "A: ", "b": "B: "},
        default_prompt_name="b", on_long="truncate", similarity_fn_name="dot",
        compute_type="stored",
    ) as model:  # fmt: skip
        model.max_seq_length = 20
        expected = model.encode(TEXTS)
        data = pickle.dumps(model)
    assert len(data) < 2000
    # The path was relative.
    monkeypatch.chdir("/")
    with pickle.loads(data) as again:
        assert again.get_embedding_dimension() == 64
        assert again.prompts == {"a": "A: ", "b": "B: "}
        assert again.default_prompt_name == "b"
        assert again.similarity_fn_name == "dot"
        assert again.on_long == "truncate"
        assert again.max_seq_length == 20
        assert again.compute_type == "stored"
        assert (again.encode(TEXTS) == expected).all()


def test_a_copy_is_a_model_of_its_own(model: Embedder) -> None:
    with copy.deepcopy(model) as other:
        other.prompts["query"] = "Q: "
        vectors = other.encode(TEXTS)
    assert (model.encode(TEXTS) == vectors).all()
    assert model.prompts["query"] != "Q: "


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_that_start_in_any_way(model: Embedder, method: str) -> None:
    expected = model.encode(TEXTS)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        vectors = list(pool.map(_encode, [model] * len(TEXTS), TEXTS, timeout=120))
    assert np.allclose(vectors, expected, atol=1e-6)


def test_joblib(model: Embedder) -> None:
    import joblib

    vectors = joblib.Parallel(2)(joblib.delayed(_encode)(model, text) for text in TEXTS)
    assert np.allclose(vectors, model.encode(TEXTS), atol=1e-6)


@pytest.mark.slow
def test_another_file_in_its_place_is_refused(tmp_path: Path, model_file: Path) -> None:
    path = tmp_path / "model.gguf"
    shutil.copy(FILE, path)
    with Embedder(path, threads=1) as model:
        data = pickle.dumps(model)
    shutil.copy(model_file, path)
    with pytest.raises(ModelError, match="has changed since this Embedder was made"):
        pickle.loads(data).encode("a cat")
    path.unlink()
    with pytest.raises(ModelError, match=r"cannot read .*model\.gguf"):
        pickle.loads(data).encode("a cat")


@pytest.mark.slow
def test_changed_weights_are_another_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    content = bytearray(FILE.read_bytes())
    path.write_bytes(content)
    with Embedder(path, threads=1) as model:
        data = pickle.dumps(model)
    # As another quantisation of the same size would: all of the weights, and not the header.
    half = len(content) // 2
    content[half:] = bytes(byte ^ 1 for byte in content[half:])
    path.write_bytes(content)
    with pytest.raises(ModelError, match="has changed since this Embedder was made"):
        pickle.loads(data).encode("a cat")


def test_a_closed_model_cannot_be_pickled() -> None:
    model = Embedder("starter", threads=1)
    model.close()
    with pytest.raises(ModelError, match="closed"):
        pickle.dumps(model)


def test_what_was_pickled_can_be_closed_before_it_is_loaded(model: Embedder) -> None:
    again = pickle.loads(pickle.dumps(model))
    again.close()
    again.close()
    with pytest.raises(ModelError, match="closed"):
        again.encode("a cat")


def test_errors_are_those_of_the_first(model: Embedder) -> None:
    again = pickle.loads(pickle.dumps(model))
    with again, pytest.raises(ArgumentError, match="has no prompt 'x'"):
        again.encode("a cat", "x")
