"""`jlocal verify`: real models beside their checkpoints, beside each other, and beside files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal.bench.texts import SENTENCES
from jlocal.errors import ArgumentError, ExtraError
from jlocal.gguf.header import read_header
from jlocal.models import starter
from jlocal.verify import Report, Text, default_texts, read_texts, save_reference, verify
from jlocal.verify.measure import at_dimensions, cosines, length_of, query_and_document_prompts
from jlocal_convert import convert
from jlocal_convert.reference import CheckpointEncoder
from support.gguf_files import patch
from support.safetensors import read_safetensors, write_safetensors
from support.texts import AWKWARD, prose
from support.verify_inputs import SOME, STARTER


@pytest.fixture
def jlocal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", "verify", *map(str, arguments)],
            capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip

    return run


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


# What is measured


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["qwen3", "eurobert"])
def test_a_file_beside_its_checkpoint(backbone, converted, checkpoint) -> None:
    report = verify(
        converted(backbone, "clustering", "F16", whole=True),
        checkpoint(backbone),
        texts=[*AWKWARD.values()],
        open_checkpoint=CheckpointEncoder,
    )
    assert report.least.cosine >= 0.999
    assert report.overall.count == 2 * len(AWKWARD)
    assert report.differing_tokens == 0
    assert report.reference.task == "clustering"
    assert report.model.source_sha256 == report.reference.source_sha256
    with pytest.raises(ArgumentError, match="holds the adapter of 'clustering', not retrieval"):
        verify(converted(backbone, "retrieval", "F16"), converted(backbone, "clustering", "F16"))
    with pytest.raises(ArgumentError, match="choose with task="):
        save_reference(
            checkpoint(backbone),
            Path("never.npz"),
            texts=["a"],
            open_checkpoint=CheckpointEncoder,
        )
    assert not Path("never.npz").exists()


@pytest.mark.slow
@pytest.mark.parametrize("other", ["model_fp16.safetensors", "model.fp16.safetensors"])
def test_weights_in_another_precision_beside_the_checkpoint(other, small_checkpoint, tmp_path):
    """Conversion and verification read the same files, and say so by the same digest."""
    folder = tmp_path / "both"
    shutil.copytree(small_checkpoint, folder, copy_function=os.link)
    weights = read_safetensors(folder / "model.safetensors")
    write_safetensors(folder / other, {name: values * 2 for name, values in weights.items()})
    (file,) = convert(folder, tasks=["retrieval"], types=["F16"], output=tmp_path / "out")
    (alone,) = convert(small_checkpoint, tasks=["retrieval"], types=["F16"], output=tmp_path)
    report = verify(file, folder, texts=SOME, open_checkpoint=CheckpointEncoder)
    assert report.model.source_sha256 == report.reference.sha256
    assert report.model.source_sha256 == read_header(alone).metadata["jlocal.source_sha256"]
    assert report.least.cosine >= 0.999


@pytest.mark.slow
def test_a_checkpoint_needs_what_computes_with_it(starter_files) -> None:
    with pytest.raises(ArgumentError, match=r"open_checkpoint=jlocal_convert\.reference"):
        verify(starter_files["F16"], STARTER)


@pytest.mark.slow
def test_coarser_types_lose_more(starter_files, tmp_path) -> None:
    reference = tmp_path / "checkpoint.npz"
    save_reference(
        STARTER,
        reference,
        task="retrieval",
        texts=[text for text in default_texts()[:60]],
        open_checkpoint=CheckpointEncoder,
    )
    reports = {kind: verify(file, reference) for kind, file in starter_files.items()}
    for worse, better in (("Q4_K_M", "Q8_0"), ("Q8_0", "F16")):
        assert reports[worse].least.cosine < reports[better].least.cosine
        assert reports[worse].overall.mean < reports[better].overall.mean
    assert reports["F16"].least.cosine >= 0.9999
    assert reports["Q8_0"].least.cosine >= 0.999
    assert reports["Q4_K_M"].neighbours.ndcg <= reports["F16"].neighbours.ndcg
    for report in reports.values():
        lengths = [dimension.dimensions for dimension in report.dimensions]
        assert lengths == sorted(lengths, reverse=True)
        assert lengths[0] == report.model.dimensions
        losses = report.dimensions[0].losses
        assert [*losses] == ["float32", "int8", "binary"]
        assert losses["float32"].reference.recall == 1
        assert losses["float32"].reference.ndcg == pytest.approx(1)
        assert losses["binary"].reference.ndcg < losses["int8"].reference.ndcg < 1
        assert report.dimensions[-1].losses["float32"].reference.recall < 1


@pytest.mark.slow
def test_a_stored_reference_is_the_model_itself(
    starter_files, stored_reference, tmp_path, monkeypatch
) -> None:
    """The texts travel in the file, and nothing else is needed."""
    carried = tmp_path / "carried.npz"
    shutil.copy(stored_reference, carried)
    monkeypatch.chdir(tmp_path)
    report = verify(starter_files["F16"], carried)
    assert report.least.cosine >= 0.999999
    assert report.neighbours.recall == 1
    assert report.neighbours.ndcg == pytest.approx(1)
    assert report.differing_tokens == 0
    assert [*report.texts.texts] == SOME
    direct = verify(starter_files["Q8_0"], starter_files["F16"], texts=SOME)
    through = verify(starter_files["Q8_0"], carried)
    for prompt, values in direct.cosines.items():
        np.testing.assert_allclose(through.cosines[prompt], values, atol=1e-6)
    assert through.reference.sha256 == direct.reference.sha256
    with np.load(stored_reference, allow_pickle=False) as file:
        rounded = {name: file[name] for name in file.files}
    for name in rounded:
        if name.startswith("vectors"):
            rounded[name] = rounded[name].astype(np.float16)
    np.savez(carried, **rounded)
    assert verify(starter_files["F16"], carried).least.cosine >= 0.999999


@pytest.mark.slow
def test_groups(starter_files, stored_reference) -> None:
    report = verify(starter_files["Q4_K_M"], stored_reference)
    assert [*report.by_prompt()] == ["query", "document"]
    assert [*report.by_language()] == ["", "de"]
    for group in (report.by_prompt(), report.by_language(), report.by_length()):
        assert sum(found.count for found in group.values()) == 2 * len(SOME)
        assert min(found.min for found in group.values()) == report.overall.min
        for found in group.values():
            assert found.min <= found.p1 <= found.p5 <= found.p50 <= 1
            assert found.min <= found.mean
    least = report.least
    assert least.cosine == report.overall.min
    pairs = report.lowest(1000)
    assert [pair.cosine for pair in pairs] == sorted(pair.cosine for pair in pairs)
    assert [length_of(n) for n in (1, 8, 9, 512, 513)] == [
        "1 to 8", "1 to 8", "9 to 32", "129 to 512", "above 512",
    ]  # fmt: skip


def test_neighbours_by_hand() -> None:
    """Beside a plain search over the same vectors, text by text."""
    rng = np.random.default_rng(0)
    reference = {name: rng.standard_normal((40, 24)) for name in ("document", "query")}
    model = {name: rows + rng.standard_normal(rows.shape) / 2 for name, rows in reference.items()}
    cast = [{n: rows.astype(np.float32) for n, rows in side.items()} for side in (model, reference)]
    (found, _) = at_dimensions(cast[0], cast[1], [24, 12])

    def nearest(side: dict[str, np.ndarray], text: int) -> list[int]:
        unit = {n: r / np.linalg.norm(r, axis=1, keepdims=True) for n, r in side.items()}
        scores = unit["document"] @ unit["query"][text]
        return [row for row in np.argsort(-scores).tolist() if row != text][:10]

    recalls, gains = [], []
    for text in range(40):
        right, ours = nearest(reference, text), nearest(model, text)
        recalls.append(len({*right} & {*ours}) / 10)
        ideal = sum((10 - rank) / np.log2(rank + 2) for rank in range(10))
        gained = sum(
            (10 - right.index(row)) / np.log2(rank + 2)
            for rank, row in enumerate(ours)
            if row in right
        )
        gains.append(gained / ideal)
    assert found.losses["float32"].model.recall == pytest.approx(np.mean(recalls))
    assert found.losses["float32"].model.ndcg == pytest.approx(np.mean(gains))
    assert {name: loss.bytes for name, loss in found.losses.items()} == {
        "float32": 96, "int8": 24, "binary": 3,
    }  # fmt: skip


def test_what_cannot_be_ranked_has_no_figure() -> None:
    rows = np.random.default_rng(0).standard_normal((12, 20)).astype(np.float32)
    (full, cut) = at_dimensions({"none": rows}, {"none": rows}, [20, 16])
    assert [*full.losses] == ["float32", "int8"]
    assert [*cut.losses] == ["float32", "int8", "binary"]
    (full,) = at_dimensions({"none": rows[:11]}, {"none": rows[:11]}, [20])
    assert full.losses == {}
    assert full.cosine.min == pytest.approx(1)
    assert query_and_document_prompts(["passage", "query"]) == ("query", "passage")
    assert query_and_document_prompts(["none"]) == ("none", "none")
    np.testing.assert_allclose(cosines(rows, -rows), -1)


# Texts


def test_our_texts() -> None:
    texts = default_texts()
    languages = {text.language for text in texts}
    assert len(languages) == 22
    assert {"code", "awkward"} < languages
    assert len(texts) > 300
    assert len({text.text for text in texts}) == len(texts)
    assert not {text.text for text in texts} & {*SENTENCES}
    together = "".join(text.text for text in texts)
    for awkward in ("<|im_end|>", "\0", "e\u0300", "\U0001f469\U0001f3fd\u200d", "<|endoftext|>"):
        assert awkward in together
    assert [len(text.text) for text in texts[-3:]] == [1_000, 3_000, 12_000]


def test_texts_of_files(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n", encoding="utf-16")
    (tmp_path / "b.jsonl").write_text('{"text": "drei\\u0000", "language": "de"}\n{"text": ""}\n')
    assert read_texts([tmp_path / "a.txt", tmp_path / "b.jsonl"]) == [
        Text("", "one"), Text("", ""), Text("", "two"), Text("de", "drei\0"), Text("", ""),
    ]  # fmt: skip


@pytest.mark.slow
def test_repeated_texts_count_once(starter_files) -> None:
    report = verify(
        starter_files["F16"], starter_files["F16"], texts=["a", "b", "a", Text("de", "b")]
    )
    assert [text.text for text in report.texts.texts] == ["a", "b"]
    assert report.texts.repeated == 2
    assert "2 repeated ones count once" in " ".join(report.table().split())
    assert report.neighbours is None
    assert report.as_dict()["neighbours"] is None


@pytest.mark.slow
def test_what_is_above_the_context(starter_files, tmp_path, jlocal) -> None:
    """Stored and our own texts are left out and named; a user's own are an error."""
    short = tmp_path / "short.gguf"
    patch(starter_files["Q8_0"], short, "qwen3.context_length", 4096, 300)
    reference = tmp_path / "r.npz"
    texts = [*SOME, Text("en", prose(400))]
    save_reference(starter_files["F16"], reference, texts=texts)
    report = verify(short, reference)
    (left,) = report.texts.left_out
    assert left.text == texts[-1]
    assert left.tokens > 300 == left.limit
    assert [*report.texts.texts] == SOME
    assert "is left out, above the 300 of" in " ".join(report.table().split())
    with pytest.raises(ArgumentError, match="above the 300 of"):
        verify(short, starter_files["F16"], texts=texts)
    with pytest.raises(ArgumentError, match="none of 1 texts fits"):
        save_reference(short, reference, texts=[prose(400)])
    (tmp_path / "texts.txt").write_text("\n".join(text.text for text in texts))
    done = jlocal(short, "--against", starter_files["F16"], "--texts", "texts.txt")
    assert done.returncode == 1
    assert len(lines_of(done)) == 1


# The command


@pytest.mark.slow
def test_a_table(jlocal, starter_files, stored_reference) -> None:
    done = jlocal(starter_files["Q4_K_M"], "--reference", stored_reference, "--min-cosine", 0.5)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    first = [line.split()[0] for line in lines if line]
    for name in ("model", "reference", "texts", "all", "query", "document", "de", "256", "32"):
        assert name in first
    assert "the same token ids in both" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_json_a_plot_and_a_floor(jlocal, starter_files, stored_reference, tmp_path) -> None:
    done = jlocal(
        starter_files["Q4_K_M"], "--against", stored_reference, "--json",
        "--min-cosine", 0.99999999, "--plot", "plot.svg", "--save", "saved.npz",
    )  # fmt: skip
    assert done.returncode == 1
    said = lines_of(done)
    assert said[0] == "Stored the vectors of 14 texts in saved.npz"
    assert said[1].startswith("Error: the least cosine is 0.")
    assert len(said) == 2
    found = json.loads(done.stdout)
    assert found["model"]["weights"] == "Q4_K_M"
    assert len(found["model"]["sha256"]) == 64
    assert found["reference"]["weights"] == "F16"
    assert found["reference"]["kind"] == "stored"
    assert found["texts"]["count"] == 14
    assert found["texts"]["left_out"] == []
    assert {*found["cosine"]} == {"all", "prompt", "tokens", "language"}
    assert len(found["pairs"]) == found["cosine"]["all"]["count"] == 28
    assert found["pairs"][0]["cosine"] == found["cosine"]["all"]["min"]
    assert found["dimensions"][0]["losses"]["int8"]["bytes"] == found["model"]["dimensions"]
    assert 0 < found["neighbours"]["recall"] <= 1
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    again = verify(starter_files["Q4_K_M"], tmp_path / "saved.npz")
    assert again.least.cosine >= 0.999999
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plot.svg", "saved.npz"]


@pytest.mark.slow
def test_the_model_that_ships() -> None:
    """Made with: jlocal verify starter/jlocal-starter --task retrieval --save FILE."""
    report = verify(starter.FILE)
    assert report.least.cosine >= 0.999
    assert len(report.texts.texts) == len(default_texts())
    assert isinstance(report, Report)
    assert report.reference.source_sha256 == report.model.source_sha256
    assert report.markdown().count("\n| ") > 8


@pytest.mark.slow
def test_a_picture_of_few_texts(starter_files, tmp_path) -> None:
    from jlocal.verify.plot import draw

    draw(
        verify(starter_files["Q8_0"], starter_files["F16"], texts=["a", "b"]), tmp_path / "few.png"
    )
    assert (tmp_path / "few.png").read_bytes().startswith(b"\x89PNG")


MISTAKES = {
    "no model": (["no.gguf", "--against", "F16"], 1, "no such file: no.gguf"),
    "no reference": (["F16", "--against", "no.gguf"], 1, "no such file: no.gguf"),
    "no stored one": (["F16", "--against", "no.npz"], 1, "cannot read no.npz"),
    "no npz": (["F16", "--against", "text.npz"], 1, "text.npz is not a reference"),
    "another's npz": (["F16", "--against", "other.npz"], 1, "it has no metadata"),
    "none that ships": (["OTHER"], 1, "no reference for"),
    "another dimension": (["F16", "--against", "OTHER"], 1, "another dimensions"),
    "another adapter": (["F16", "--against", "F16", "--task", "clustering"], 1, "'retrieval'"),
    "no adapter": (["F16", "--against", "STARTER", "--task", "x"], 1, "'retrieval', not x"),
    "which adapter": (["STARTER", "--save", "a.npz"], 1, "choose with --task"),
    "two sets of texts": (
        ["F16", "--against", "STORED", "--texts", "text.npz"], 1, "leave out --texts",
    ),
    "no texts": (["F16", "--against", "F16", "--texts", "empty.txt"], 1, "no texts to compare"),
    "missing texts": (["F16", "--against", "F16", "--texts", "no.txt"], 1, "cannot read no.txt"),
    "no UTF-8": (["F16", "--against", "F16", "--texts", "bad.txt"], 1, "bad.txt:2: not UTF-8"),
    "no JSON": (["F16", "--against", "F16", "--texts", "bad.jsonl"], 1, "bad.jsonl:1: not JSON"),
    "no text in it": (["F16", "--against", "F16", "--texts", "no.jsonl"], 1, "no.jsonl:1: no obj"),
    "a surrogate": (["F16", "--against", "F16", "--texts", "half.jsonl"], 1, "lone surrogate"),
    "another ending": (["F16", "--save", "a.npy"], 2, "ends in .npz"),
    "nothing compared": (["F16", "--save", "a.npz", "--json"], 2, "compares nothing"),
    "over the reference": (["F16", "--against", "STORED", "--save", "STORED"], 2, "the reference"),
    "no folder": (["F16", "--save", "no/a.npz", "--texts", "one.txt"], 1, "cannot write no/a.npz"),
    "a plot as text": (["F16", "--against", "F16", "--plot", "a.txt"], 1, "ends in .svg or .png"),
    "no cosine": (["F16", "--against", "F16", "--min-cosine", "2"], 2, "not in the range"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(
    name, jlocal, starter_files, stored_reference, converted, tmp_path
) -> None:
    words, status, message = MISTAKES[name]
    (tmp_path / "text.npz").write_text("not a zip")
    np.savez(tmp_path / "other.npz", vectors=np.zeros(3))
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bad.txt").write_bytes(b"good\nGr\xf6\xdfe\n")
    (tmp_path / "bad.jsonl").write_text("{")
    (tmp_path / "no.jsonl").write_text('{"text": 3}')
    (tmp_path / "half.jsonl").write_text('{"text": "\\ud800"}')
    given = {"F16": starter_files["F16"], "STORED": stored_reference, "STARTER": STARTER}
    given |= {"OTHER": converted("qwen3", "retrieval", "F16")} if "OTHER" in words else {}
    before = sorted(tmp_path.rglob("*"))
    done = jlocal(*(given.get(word, word) for word in words))
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    errors = [line for line in lines_of(done) if line.startswith("Error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_without_the_extra(small_checkpoint, starter_files, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ExtraError, match=r"pip install 'jlocal\[verify\]'"):
        verify(starter_files["F16"], STARTER, open_checkpoint=CheckpointEncoder)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    from jlocal.verify.plot import check_plot

    with pytest.raises(ExtraError, match=r"pip install 'jlocal\[plot\]'"):
        check_plot(tmp_path / "a.svg")
