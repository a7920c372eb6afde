"""The importance matrix: what llama-imatrix computes, the format it writes, and bad input."""

import json
import random
import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import gguf
from jlocal import Embedder, verify
from jlocal.cli import cli
from jlocal.errors import JlocalError, ModelError, OutputError, TextError
from jlocal.gguf import imatrix
from jlocal.gguf.imatrix import Entry, ImportanceMatrix
from jlocal.llama.activations import Activations
from jlocal.llama.model import Model
from jlocal.llama.quantize import Options
from jlocal.llama.quantize import quantize as llama_quantize
from jlocal.llama.tokenizer import Tokenizer
from jlocal.models.profile import read_profile
from jlocal_convert import quantize
from jlocal_convert.quantization.calibration import Calibration, calibrate, read_calibration
from support.checkpoints import DATA
from support.gguf_files import tensor_bytes
from support.texts import AWKWARD, huge

THEIRS = DATA / "imatrix"
CHUNK = 128
LAST = ("blk.1.ffn_gate", "blk.1.ffn_up", "blk.1.ffn_down")


def means(entry):
    return entry.squares / entry.counts[:, None]


def loaded(file):
    model = Model(read_profile(file), threads=2, gpu_layers=0, compute_type="stored")
    return model, Tokenizer(model)


def computed(file, sequences):
    model, tokenizer = loaded(file)
    with Activations(model, threads=2) as activations:
        for tokens in sequences(tokenizer):
            activations.add(tokens)
        return activations.sums


def computed_in_every_row(file, sequences, last):
    """Also what the last feed-forward of a decoder does with a text's other tokens.

    Each of them is the last one of the text's beginning.
    """
    found = computed(file, sequences)
    if last:
        ends = computed(
            file,
            lambda tokenizer: [
                tokens[:end] for tokens in sequences(tokenizer) for end in range(1, len(tokens) + 1)
            ],
        )
        found |= {f"{name}.weight": ends[f"{name}.weight"] for name in last}
    return found


@pytest.fixture(scope="module")
def ours(few, calibration_file) -> ImportanceMatrix:
    return calibrate(few, read_calibration([calibration_file]), threads=2)


# Computed


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "last"), [("qwen3", LAST), ("eurobert", ())])
def test_equal_to_llama_imatrix(backbone, last, converted):
    """tests/data/imatrix holds what the program made of the same model and the same text."""
    theirs = imatrix.read(THEIRS / f"{backbone}.gguf")
    text = (THEIRS / "text.txt").read_text(encoding="utf-8")
    assert (theirs.datasets, theirs.chunk_size) == (("text.txt",), CHUNK)

    def chunks(tokenizer):
        tokens = tokenizer.encode(text)
        assert len(tokens) // CHUNK == theirs.chunks
        return tokens[: theirs.chunks * CHUNK].reshape(-1, CHUNK)

    found = computed_in_every_row(converted(backbone, kind="F32", whole=True), chunks, last)
    assert found.keys() == theirs.entries.keys()
    assert len(found) == 14
    for name, entry in theirs.entries.items():
        assert [found[name].count] == entry.counts.tolist() == [theirs.chunks * CHUNK]
        expected = means(entry)[0]
        difference = np.abs(found[name].squares / found[name].count - expected)
        assert difference.sum() < 0.001 * expected.sum(), name
        assert (difference < 0.01 * expected).all(), name


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "last"), [("qwen3", LAST), ("eurobert", ())])
def test_what_is_computed_for_a_vector_counts(backbone, last, converted):
    """Of a decoder's last feed-forward one row for each text; of an encoder everything."""
    file = converted(backbone, "retrieval", "F32")
    texts = ["a text", "another, longer text than that"]

    def sequences(tokenizer):
        return [tokenizer.encode(text) for text in texts]

    every = computed_in_every_row(file, sequences, last)
    alone = [
        computed(file, lambda tokenizer, text=text: [tokenizer.encode(text)]) for text in texts
    ]
    found = computed(file, sequences)
    tokens = sum(len(tokens) for tokens in sequences(loaded(file)[1]))
    assert found.keys() == every.keys()
    for name, sums in found.items():
        in_last = name.removesuffix(".weight") in last
        assert (sums.count, every[name].count) == (2 if in_last else tokens, tokens)
        if in_last:
            assert (sums.squares <= every[name].squares * 1.0001).all()
        else:
            together = sum(found[name].squares for found in alone)
            assert sums.squares == pytest.approx(together, rel=1e-4)


@pytest.mark.slow
def test_each_text_is_one_sequence_under_each_prompt(few, calibration_file):
    texts = read_calibration([calibration_file]).texts
    matrix = calibrate(few, Calibration(texts, ["t.txt"]), threads=2)

    def sequences(tokenizer):
        return [tokenizer.encode(p + t) for t in texts for p in ("Query: ", "Document: ")]

    expected = computed(few, sequences)
    assert matrix.entries.keys() == expected.keys()
    for name, entry in matrix.entries.items():
        assert entry.counts.tolist() == [expected[name].count]
        assert entry.squares[0] == pytest.approx(expected[name].squares, rel=1e-4)
    assert (matrix.chunks, matrix.datasets) == (2 * len(texts), ("t.txt",))
    assert matrix.entries["blk.1.ffn_up.weight"].counts.tolist() == [2 * len(texts)]


@pytest.mark.slow
def test_awkward_texts(few, calibration_file):
    """NUL, emoji, text like control tokens: what a model embeds can be calibrated with."""
    texts = [*filter(str.strip, AWKWARD.values())]
    texts = [text for text in texts if len(text) < 800]
    assert any("\0" in text for text in texts)
    assert any("<|endoftext|>" in text for text in texts)
    matrix = calibrate(few, Calibration(texts, ["awkward"]), threads=2)
    for entry in matrix.entries.values():
        assert np.isfinite(entry.squares).all()
        assert entry.squares.sum() > 0


def test_default_texts_are_not_those_of_verify():
    """What a file is judged on is not what it was calibrated with."""

    def plain(text):
        return " ".join(text.split()).casefold()

    ours = read_calibration(["default"])
    assert ours.names == ["jlocal's"]
    texts = [plain(text) for text in ours.texts]
    assert len(set(texts)) == len(texts) > 150
    judged = [plain(text.text) for text in verify.texts.default_texts()]
    assert not set(texts) & set(judged)
    for some, others in ((texts, judged), (judged, texts)):
        assert not {t for t in some if len(t) > 15 and any(t in other for other in others)}


# The format


def test_written_and_read(ours, tmp_path):
    path = tmp_path / "m.gguf"
    imatrix.write(path, ours)
    back = imatrix.read(path)
    assert (back.datasets, back.chunks, back.chunk_size) == (
        ours.datasets,
        ours.chunks,
        ours.chunk_size,
    )
    assert back.entries.keys() == ours.entries.keys()
    for name, entry in back.entries.items():
        assert np.array_equal(entry.squares, ours.entries[name].squares.astype(np.float32))
        assert np.array_equal(entry.counts, ours.entries[name].counts)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("backbone", ["qwen3", "eurobert"])
def test_theirs_is_written_as_it_was_read(backbone, tmp_path):
    source, target = THEIRS / f"{backbone}.gguf", tmp_path / "again.gguf"
    imatrix.write(target, imatrix.read(source))
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.skipif(not shutil.which("llama-quantize"), reason="llama-quantize is not installed")
@pytest.mark.parametrize("kind", ["IQ2_M", "Q4_K_M"])
def test_llama_quantize_takes_ours(kind, few, calibration_file, tmp_path):
    """It makes the same tensors of it, and the same record of where they come from."""
    matrix, theirs = tmp_path / "m.gguf", tmp_path / "theirs.gguf"
    (file,) = quantize(
        few,
        types=[kind],
        output=tmp_path / "ours.gguf",
        calibration=[calibration_file],
        save_imatrix=matrix,
    )
    command = ["llama-quantize", "--imatrix", matrix.name, few, theirs.name, kind, "2"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    assert tensor_bytes(file) == tensor_bytes(theirs)
    values = [gguf.GGUFReader(path).fields for path in (file, theirs)]
    assert values[0].keys() == values[1].keys()
    for key, field in values[0].items():
        if key.startswith("quantize."):
            assert field.contents() == values[1][key].contents()


# Bad input


def lines(text, count=30):
    return "".join(f"{text}\n" for _ in range(count)).encode()


BAD_TEXTS = {
    "empty": ("t.txt", b"", "has no calibration texts in it"),
    "white space": ("t.txt", b" \n\t\n\n  \n", "has no calibration texts in it"),
    "too few": ("t.txt", lines("some text", 5), "5 texts are too few"),
    "one line": ("t.txt", b"word " * 2000, "1 texts are too few"),
    "too short": ("t.txt", lines("a"), "too few for calibration; give at least 1,024"),
    "not UTF-8": ("t.txt", lines("some text")[:-9] + b"\xff\xfe\xfa\n", "not UTF-8"),
    "binary": ("t.bin", random.Random(0).randbytes(9999), "t.bin"),
    "a model": ("t.gguf", b"GGUF\x03\0\0\0" + bytes(range(256)) * 40, "t.gguf"),
    "too long": ("t.txt", lines("some text") + b"word " * 20_000, "split it"),
    "NUL": ("t.txt", lines("some text") + b"a\0b", "contains NUL"),
    "everything": ("t.jsonl", lines(json.dumps({"text": huge()}), 20), "split it"),
    "no JSON": ("t.jsonl", lines("some text"), "not JSON"),
    "no text": ("t.jsonl", lines('{"texts": 1}'), "no object like"),
    "number": ("t.jsonl", lines('{"text": 1}'), "no object like"),
    "surrogate": ("t.jsonl", lines(r'{"text": "\ud800"}'), "lone surrogate"),
}


def refused(says, *arguments, output):
    """One line on stderr that says so, status 1, and no file."""
    run = CliRunner().invoke(cli, ["quantize", *map(str, arguments), "-o", str(output)])
    assert run.exit_code == 1, run.output
    assert isinstance(run.exception, SystemExit)
    assert run.stdout == ""
    assert run.stderr.startswith("Error: ")
    assert run.stderr.count("\n") == 1
    assert says in run.stderr
    assert not output.is_dir() or not list(output.iterdir())


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_texts(name, few, tmp_path):
    file, content, says = BAD_TEXTS[name]
    texts = tmp_path / file
    texts.write_bytes(content)
    saved = tmp_path / "m.gguf"
    with pytest.raises(TextError) as caught:
        calibrate(few, read_calibration([texts]), threads=2)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    options = ("--to", "IQ3_M", "--calibrate", texts, "--save-imatrix", saved)
    refused(says, few, *options, output=tmp_path / "out")
    assert not saved.exists()


def test_texts_that_are_not_there(few, tmp_path):
    refused("cannot read", few, "--to", "IQ3_M", "--calibrate", "none", output=tmp_path / "out")
    refused("directory", few, "--to", "IQ3_M", "--calibrate", tmp_path, output=tmp_path / "out")


def spoiled(matrix, value):
    entry = matrix.entries["blk.0.attn_q.weight"]
    squares = entry.squares.copy()
    squares[0, 3] = value
    return replace(
        matrix, entries={**matrix.entries, "blk.0.attn_q.weight": Entry(squares, entry.counts)}
    )


def without(matrix, name):
    return replace(matrix, entries={k: e for k, e in matrix.entries.items() if k != name})


def renamed(matrix, old, new):
    entries = {name.replace(old, new): entry for name, entry in matrix.entries.items()}
    return replace(matrix, entries=entries)


BAD_MATRICES = {
    "NaN": (lambda m: spoiled(m, np.nan), "negative or not finite"),
    "infinite": (lambda m: spoiled(m, np.inf), "negative or not finite"),
    "negative": (lambda m: spoiled(m, -1.0), "negative or not finite"),
    "nothing": (lambda m: replace(m, entries={}), "there is nothing in it"),
    "a matrix is missing": (lambda m: without(m, "blk.1.ffn_up.weight"), "nothing for blk.1."),
    "fewer layers": (lambda m: renamed(m, "blk.1.", "blk.0."), "nothing for blk.1."),
    "more layers": (lambda m: renamed(m, "blk.1.", "blk.2."), "'blk.2."),
    "other names": (lambda m: renamed(m, "ffn_up", "up_proj"), "up_proj"),
    "a norm": (lambda m: renamed(m, "attn_q", "attn_norm"), "attn_norm"),
}


@pytest.mark.parametrize("name", BAD_MATRICES)
def test_bad_matrices(name, few, ours, tmp_path):
    change, says = BAD_MATRICES[name]
    path = tmp_path / "m.gguf"
    imatrix.write(path, change(ours))
    refused(says, few, "--to", "IQ3_M", "--imatrix", path, output=tmp_path / "out")
    with pytest.raises(ModelError, match=r"another model|not a usable importance matrix"):
        quantize(few, types=["IQ3_M"], output=tmp_path / "out", imatrix=path)


def test_matrix_of_another_model(few, tmp_path):
    for backbone in ("qwen3", "eurobert"):
        theirs = THEIRS / f"{backbone}.gguf"
        says = "is an importance matrix of another model than"
        refused(says, few, "--to", "Q4_K_M", "--imatrix", theirs, output=tmp_path / "out")


@pytest.mark.slow
def test_values_out_of_proportion(few, ours, tmp_path):
    """llama.cpp computes with them, and its weights stay finite."""
    path = tmp_path / "m.gguf"
    imatrix.write(path, spoiled(ours, 3e38))
    (file,) = quantize(few, types=["Q4_K_M"], output=tmp_path / "q.gguf", imatrix=path)
    with Embedder(file) as model:
        assert np.isfinite(model.encode("a text")).all()


OTHER_FILES = {
    "empty": (lambda _: b"", "is not an importance matrix in a GGUF file"),
    "text": (lambda _: b"some text\n" * 100, "is not an importance matrix in a GGUF file"),
    "old format": (lambda _: b"\x0e\0\0\0\x13\0\0\0blk.0", "--in-file OLD.dat"),
    "magic": (lambda _: b"GGUF", "m.gguf"),
    "garbage": (lambda _: b"GGUF" + random.Random(1).randbytes(5000), "m.gguf"),
    "a model": (lambda few: few.read_bytes(), "but no importance matrix"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_what_is_no_matrix(name, few, tmp_path):
    content, says = OTHER_FILES[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(content(few))
    refused(says, few, "--to", "Q4_K_M", "--imatrix", path, output=tmp_path / "out")


def test_files_that_are_not_there(few, tmp_path):
    for path in (tmp_path / "none.gguf", tmp_path, "x" * 300):
        refused("cannot read", few, "--to", "Q4_K_M", "--imatrix", path, output=tmp_path / "out")


@pytest.mark.filterwarnings("error")
def test_cut_and_spoiled_files(tmp_path):
    """Each is refused in one line, or is a matrix of finite numbers that are not negative."""
    data = (THEIRS / "qwen3.gguf").read_bytes()
    random_ = random.Random(2)
    path = tmp_path / "m.gguf"
    cut = [data[:length] for length in range(0, len(data), 97)]
    for content in cut:
        path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            imatrix.read(path)
        assert "\n" not in str(caught.value)
    for _ in range(300):
        spoilt = bytearray(data)
        for _ in range(random_.randint(1, 4)):
            spoilt[random_.randrange(2000)] = random_.randrange(256)
        path.write_bytes(spoilt)
        with suppress(JlocalError):
            matrix = imatrix.read(path)
            assert all((entry.squares >= 0).all() for entry in matrix.entries.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bits", [0x7F800001, 0x7FC00000, 0x7F800000, 0x7F7FFFFF, 0xBF800000])
def test_spoiled_counts(bits, tmp_path):
    """A signalling and a quiet NaN, infinity, the largest number, and -1."""
    path = tmp_path / "m.gguf"
    path.write_bytes((THEIRS / "qwen3.gguf").read_bytes())
    reader = gguf.GGUFReader(path, "r+")
    (count,) = (t for t in reader.tensors if t.name == "blk.0.attn_q.weight.counts")
    count.data.view(np.uint32)[...] = bits
    reader.data.flush()
    with pytest.raises(ModelError, match=r"attn_q\.weight.*(not finite|too many)"):
        imatrix.read(path)


@pytest.mark.slow
def test_llama_cpp_is_given_no_unchecked_matrix(few, tmp_path):
    """A file that was replaced between the check and the quantisation."""
    path = tmp_path / "m.gguf"
    path.write_bytes((THEIRS / "qwen3.gguf").read_bytes())
    reader = gguf.GGUFReader(path, "r+")
    (sums,) = (t for t in reader.tensors if t.name == "blk.0.attn_q.weight.in_sum2")
    sums.data[...] = np.nan
    reader.data.flush()
    with pytest.raises(ModelError, match=r"not a usable importance matrix.*not finite"):
        llama_quantize(few, tmp_path / "q.gguf", "IQ3_M", Options(importance=path))
    assert not (tmp_path / "q.gguf").exists()


def test_a_matrix_is_not_written_over(few, calibration_file, tmp_path):
    saved = tmp_path / "m.gguf"
    saved.write_bytes(b"mine")
    options = ("--to", "IQ3_M", "--calibrate", calibration_file, "--save-imatrix")
    refused("exists", few, *options, saved, output=tmp_path / "out")
    assert saved.read_bytes() == b"mine"
    refused("is not a folder", few, *options, tmp_path / "no" / "m.gguf", output=tmp_path / "out")
    with pytest.raises(OutputError):
        imatrix.write(tmp_path / "no" / "m.gguf", imatrix.read(THEIRS / "qwen3.gguf"))
