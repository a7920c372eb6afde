"""GGUF files of other families: what is added after a text, and what llama.cpp does otherwise."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

from jlocal import Embedder, TokenizerWarning, TruncationWarning
from jlocal.cli import cli
from support.bert_files import CONTEXT, VOCABULARY, bert_file

pytestmark = pytest.mark.slow

LONG = "the cat " * 100


@pytest.mark.parametrize("keys", [{}, {"add_eos_token": False}, {"add_eos_token": True}])
@pytest.mark.filterwarnings("ignore::jlocal.errors.TokenizerWarning")
def test_the_closing_token_of_bert_stays(keys: dict[str, bool], tmp_path: Path) -> None:
    path = bert_file(tmp_path / "bert.gguf", **keys)
    with Embedder(path, on_long="truncate") as model:
        whole = model.tokenize(LONG)
        assert [VOCABULARY[whole[0]], VOCABULARY[whole[-1]]] == ["[CLS]", "[SEP]"]
        with pytest.warns(TruncationWarning):
            cut = model.encode(LONG)
        # As the tokenizers library cuts: [CLS], the first tokens, [SEP].
        same = model.encode(" ".join(["the", "cat"] * (CONTEXT // 2 - 1)))
        assert (cut * same).sum() == pytest.approx(1, abs=1e-5)
        model.max_seq_length = 2
        with pytest.warns(TruncationWarning):
            assert model.encode(LONG) @ model.encode("") == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("architecture", "count"), [("qwen3", 0), ("eurobert", 1)])
def test_closing_tokens_are_those_that_the_tokenizer_adds(
    architecture: str, count: int, converted
) -> None:
    with Embedder(converted(architecture)) as model:
        assert model._model.runtime.tokenizer.closing_tokens == count


def test_other_tokens_are_said_once_for_a_file(tmp_path: Path, converted) -> None:
    path = bert_file(tmp_path / "bert.gguf")
    with pytest.warns(TokenizerWarning, match="Hangul") as caught:
        model = Embedder(path)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(["the cat", "한국어"])
        model.close()
        Embedder(converted("qwen3")).close()


def test_the_command_line_says_so(tmp_path: Path, converted) -> None:
    path = str(bert_file(tmp_path / "bert.gguf"))
    run = CliRunner().invoke
    embedded = run(cli, ["embed", "-m", path, "-c", "the cat"])
    assert embedded.exit_code == 0
    assert embedded.stderr.count("Hangul") == 1
    shown = run(cli, ["show", path])
    assert "Hangul" in shown.stdout
    assert "Hangul" in json.loads(run(cli, ["show", path, "--json"]).stdout)["tokenizer"]
    assert "Hangul" in run(cli, ["doctor", path]).output
    sound = str(converted("qwen3"))
    assert "Hangul" not in run(cli, ["show", sound]).output
    assert "Hangul" not in run(cli, ["doctor", sound]).output
