"""mteb: a GGUF file has the figures of its checkpoint, and sets of one's own need no network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from jlocal import ArgumentError
from jlocal.cli import cli
from jlocal.errors import FileError, TextTooLongError

pytestmark = pytest.mark.slow
mteb = pytest.importorskip("mteb")

import mteb_sets as examples  # noqa: E402
from jlocal.integrations.mteb import JlocalModel, run_task  # noqa: E402
from jlocal.integrations.mteb_sets import find_task, local_task  # noqa: E402
from jlocal.integrations.sentence_transformers import sentence_transformer  # noqa: E402

PAIRS = """sentence1,sentence2,score
A cat sleeps.,The cat is asleep.,4.8
A cat sleeps.,Shares fell on Monday.,0.1
A man plays the guitar.,Someone makes music.,3.5
The team meets on Tuesday.,A meeting of the team.,4
The team meets on Tuesday.,Bread is baked at night.,0.2
"""


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    examples.main(tmp_path)
    (tmp_path / "pairs.csv").write_text(PAIRS)
    return tmp_path


# What mteb calls, of its own and of sentence-transformers, has newer names.
@pytest.mark.filterwarnings("ignore:The fill_missing parameter:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The `get_sentence_embedding_dimension`:FutureWarning")
@pytest.mark.parametrize("name", ["questions", "pairs.csv"])
def test_figures_are_those_of_the_checkpoint(
    name: str, sets: Path, starter_files: dict[str, Path], checkpoint_transformer
) -> None:
    file = starter_files["F16"]
    task = local_task(sets / name)
    figures = []
    for model in (checkpoint_transformer, sentence_transformer(file), JlocalModel(file)):
        result = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
        (scores,) = result.task_results[0].scores["test"]
        figures.append({n: v for n, v in scores.items() if isinstance(v, (int, float))})
    expected, of_module, of_model = figures
    assert len(expected) > 5
    assert 0.4 < expected["main_score"] <= 1
    assert of_model == pytest.approx(expected, abs=0.001, nan_ok=True)
    assert of_module == pytest.approx(expected, abs=0.001, nan_ok=True)


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["mteb", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_the_command_writes_results_of_mteb_once(sets: Path) -> None:
    arguments = ("starter", "--task", sets / "pairs.csv", "--task", sets / "topics.jsonl")
    options = ("-o", sets / "made", "--json")
    status, output, notes = run(*arguments, *options)
    assert status == 0
    assert "pairs: the adapter for this task is text-matching" in notes
    scores = json.loads(output)
    assert [score["measure"] for score in scores] == ["cosine_spearman", "v_measure"]
    for score in scores:
        read = mteb.TaskResult.from_disk(Path(score["file"]))
        assert (read.task_name, read.get_score()) == (score["task"], pytest.approx(score["score"]))
    written = [Path(score["file"]).stat().st_mtime_ns for score in scores]
    assert run(*arguments, *options)[1] == output
    assert [Path(score["file"]).stat().st_mtime_ns for score in scores] == written
    (sets / "pairs.csv").write_text(PAIRS.replace("4.8", "0").replace("0.1", "5"))
    status, output, _ = run(*arguments[:3], *options)
    assert json.loads(output)[0]["score"] < scores[0]["score"]
    Path(scores[0]["file"]).write_text("damaged")
    assert run(*arguments[:3], *options)[1] == output


def test_other_lengths_have_results_of_their_own(sets: Path) -> None:
    task = local_task(sets / "pairs.csv")
    short, full = JlocalModel("starter", truncate_dim=64), JlocalModel("starter")
    files = {run_task(model, task, sets / "made").file for model in (short, full)}
    assert len(files) == 2
    assert short.mteb_model_meta.embed_dim == 64


def test_a_task_that_cannot_be_run_does_not_stop_others(sets: Path) -> None:
    (sets / "long.csv").write_text(PAIRS.replace("A cat sleeps.", "cat " * 5000))
    tasks = ("--task", sets / "long.csv", "--task", sets / "pairs.csv")
    status, output, errors = run("starter", *tasks, "-o", sets / "made", "--on-long", "error")
    assert status == 1
    assert "Not run: long: text 0 has 5,00" in errors
    assert "1 of 2 tasks could not be run" in errors
    assert output.startswith("pairs  cosine_spearman  0.")
    status, output, notes = run("starter", *tasks, "-o", sets / "made")
    assert (status, len(output.splitlines())) == (0, 2)
    assert "long: 2 texts were truncated" in notes
    with pytest.raises(TextTooLongError):
        run_task(JlocalModel("starter", on_long="error"), local_task(sets / "long.csv"))
    with pytest.raises(ArgumentError, match="999"):
        JlocalModel("starter", truncate_dim=999)


def test_the_hub_is_missed_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It reads its variable when it is imported; without it, it tries again for half a minute.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, output, errors = run("starter", "--task", "STSBenchmark", "-o", tmp_path)
    assert (status, output) == (1, "")
    assert "Not run: STSBenchmark: Couldn't reach" in errors


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("STSBenchmrk", None, "did you mean 'STSBenchmark'"),
        ("Nothing-like-it", None, "available-tasks"),
        ("CIFAR10", None, "jlocal embeds texts"),
        ("none/questions", None, "no such file or folder"),
        ("none.csv", None, "no such file or folder"),
        ("a.csv", "text,other\nx,y\n", "sentence1, sentence2, score"),
        ("a.txt", "text", "corpus.jsonl"),
        ("a.csv", "", "sentence1, sentence2, score"),
        ("a.csv", "text,label,text\na,x,b\nc,y,d\n", "two columns of the name 'text'"),
        ("a.jsonl", '{"text": "a", "text": "b", "label": 1}\n', "two fields of the name 'text'"),
        ("a.csv", "sentence1,sentence2,score\na,b,high\n", "row 1: score 'high' is no number"),
        ("a.csv", "sentence1,sentence2,score\na,b,1\nc,d,nan\n", "row 2: score 'nan' is no number"),
        ("a.csv", "sentence1,sentence2,score\na,b,1\nc,d,1\n", "all scores are equal"),
        ("a.csv", "text,label\na,x\nb,x\n", "all labels are equal"),
        ("a.tsv", "text\tlabel\na\tx\n\ty\n\n", ""),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"label": 2}\n', "line 2: it has no text 'text'"),
        ("a.jsonl", '{"text": "a", "label": 1}\n[1]\n', "line 2: it is no JSON object"),
        ("a.csv", b"text,label\n\xff,x\n", "it is not UTF-8"),
    ],
)
def test_what_is_no_set_is_told(
    name: str, content: str | bytes | None, words: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if not words:
        find_task(name)
        return
    with pytest.raises(FileError) as caught:
        find_task(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("qrels.tsv", "q0\tx\n", "qrels.tsv, line 1: it is not query, document"),
        ("qrels.tsv", "q0\tx\t0\n", "judges no document relevant"),
        ("qrels.tsv", "q99\tx\t1\n", "query 'q99' is not in"),
        ("queries.jsonl", '{"_id": "q0"}\n', "line 1: it has no text 'text'"),
        ("corpus.jsonl", None, "corpus.jsonl, queries.jsonl and qrels.tsv"),
    ],
)
def test_what_is_wrong_in_a_folder_is_told(
    file: str, content: str | None, words: str, sets: Path
) -> None:
    path = sets / "questions" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(FileError, match=words):
        local_task(sets / "questions")


def test_two_sets_of_one_name_are_refused(sets: Path) -> None:
    (sets / "pairs.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    status, _, errors = run("starter", "--task", sets / "pairs.csv", "--task", sets / "pairs.jsonl")
    assert status == 2
    assert "two tasks are called 'pairs'" in errors


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_set_that_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    for name in ("pipe.jsonl", "endless.csv"):
        with pytest.raises(FileError, match=f"{name}: it is not a regular file"):
            find_task(str(tmp_path / name))
