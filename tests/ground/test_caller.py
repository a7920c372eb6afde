"""Warnings point at the line of whoever called jlocal."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jlocal import Embedder, IgnoredArgumentWarning, TruncationWarning
from jlocal.errors import DeviceWarning, TokenizerWarning
from support.bert_files import bert_file

LONG = "a cat " * 400


@pytest.fixture(scope="module")
def model() -> Iterator[Embedder]:
    with Embedder("starter", threads=1, on_long="truncate") as model:
        model.max_seq_length = 128
        yield model


def warns_here(call: Callable[[], object], kind: type[Warning]) -> bool:
    """Whether all warnings are of this kind, and at the line of the call, which is one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    line = inspect.getsourcelines(call)[1]
    assert {(item.category, item.filename, item.lineno) for item in caught} == {
        (kind, __file__, line)
    }
    return True


def test_of_texts_that_are_cut(model: Embedder) -> None:
    again = pickle.loads(pickle.dumps(model))
    assert warns_here(lambda: model.encode(LONG), TruncationWarning)
    assert warns_here(lambda: model.encode_query([LONG, "b"]), TruncationWarning)
    assert warns_here(lambda: model.encode_multi_process([LONG], {}), TruncationWarning)
    assert warns_here(lambda: list(model.stream([LONG])), TruncationWarning)
    assert warns_here(lambda: again.encode(LONG), TruncationWarning)
    again.close()


@pytest.mark.slow
def test_of_constructors(tmp_path: Path) -> None:
    class Mine(Embedder):
        pass

    hangul = bert_file(tmp_path / "model.gguf")
    assert warns_here(lambda: Embedder(hangul).close(), TokenizerWarning)
    assert warns_here(lambda: Mine(hangul).close(), TokenizerWarning)
    assert warns_here(lambda: Embedder(backend="onnx").close(), IgnoredArgumentWarning)
    assert warns_here(lambda: Embedder(gpu_layers=1).close(), DeviceWarning)


def test_of_a_pool(model: Embedder) -> None:
    assert warns_here(lambda: model.start_multi_process_pool(), IgnoredArgumentWarning)


def test_filters_know_the_module_that_calls(model: Embedder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=__name__)
        model.encode(LONG)


def test_an_equal_warning_is_shown_once_for_a_line(model: Embedder) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            model.encode(LONG)
        model.encode(LONG)
    assert len(caught) == 2
