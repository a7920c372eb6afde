"""Files whose tensor types were searched for, and the command that makes them."""

import itertools
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from jlocal import Embedder
from jlocal.cli import cli
from jlocal.cli.mix import page
from jlocal.errors import ArgumentError, JlocalError, ModelError, OutputError, TextError
from jlocal.gguf.header import read_header
from jlocal.gguf.types import TENSOR_TYPES
from jlocal.llama.quantize import stored_types
from jlocal_convert import convert
from jlocal_convert.quantization.calibration import Calibration, read_calibration
from jlocal_convert.quantization.mix.search import Mixture, quantize_mixture, split
from jlocal_convert.quantization.run import Options, quantize
from support.checkpoints import build
from support.gguf_files import few_tokens

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def narrow(converted):
    """An F16 file without super-blocks."""
    return converted("qwen3", "retrieval", "F16", whole=True)


@pytest.fixture(scope="module")
def matrix(narrow, calibration_file, workshop):
    """An importance matrix of the narrow file."""
    path = workshop / "narrow.imatrix.gguf"
    quantize(
        narrow,
        types=["Q8_0"],
        output=workshop / "narrow-Q8_0.gguf",
        calibration=[calibration_file],
        save_imatrix=path,
    )
    return path


def run(*arguments):
    return CliRunner().invoke(cli, ["quantize", *map(str, arguments)])


def loss_of(file, source, texts):
    """Mean of 1 - cosine to the source's vectors."""
    vectors = []
    for path in (file, source):
        with Embedder(path, compute_type="stored") as model:
            rows = [model.encode(texts, prompt=p) for p in ("Query: ", "Document: ")]
            vectors.append(np.concatenate(rows).astype(np.float64))
    return np.square(vectors[0] - vectors[1]).sum(axis=1).mean() / 2


@pytest.fixture(scope="module")
def pair(few, calibration_file, workshop):
    """A file of llama.cpp's own mix, and one that was searched for its size, by one matrix."""
    searched, held = split(read_calibration([calibration_file]))
    (workshop / "searched.txt").write_text("\n".join(searched.texts))
    matrix = workshop / "matrix.gguf"
    (plain,) = quantize(
        few,
        types=["Q4_K_M"],
        output=workshop / "plain.gguf",
        calibration=[workshop / "searched.txt"],
        save_imatrix=matrix,
    )
    steps = []
    mixture = quantize_mixture(
        few,
        output=workshop / "mix.gguf",
        size=plain.stat().st_size,
        calibration=[calibration_file],
        imatrix=matrix,
        tensor_types=["Q8_0", "q6_k", "Q5_K", "Q4_K", "Q3_K"],
        progress=steps.append,
    )
    return plain, mixture, held.texts, steps


def test_mix_is_better_than_llama_cpps_of_its_size(pair, few):
    plain, mixture, held, _ = pair
    assert mixture.size == mixture.file.stat().st_size <= plain.stat().st_size
    assert loss_of(mixture.file, few, held) < loss_of(plain, few, held)


def test_mix_is_no_worse_than_one_type_for_all(calibration_file, tmp_path):
    """Of a bidirectional model, whose rows have no super-blocks."""
    checkpoint = few_tokens(build(tmp_path / "nano", "eurobert", tasks=("retrieval",)))
    (source,) = convert(checkpoint, types=["F16"], output=tmp_path)
    (plain,) = quantize(
        source,
        types=["Q4_0"],
        output=tmp_path / "plain.gguf",
        options=Options(pure=True),
        calibration=[calibration_file],
    )
    size = plain.stat().st_size
    mixture = quantize_mixture(
        source, output=tmp_path / "m.gguf", size=size, calibration=[calibration_file]
    )
    _, held = split(read_calibration([calibration_file]))
    assert mixture.size <= size
    assert loss_of(mixture.file, source, held.texts) <= loss_of(plain, source, held.texts)


def test_mixture_says_what_the_file_is(pair, few):
    _, mixture, held, steps = pair
    types = stored_types(read_header(mixture.file))
    assert {name: types[name] for name in mixture.tensor_types} == mixture.tensor_types
    assert set(mixture.tensor_types.values()) <= {"Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K"}
    assert mixture.shapes["token_embd.weight"] == (2048, 256)
    assert (mixture.texts, mixture.searched) == (len(held), 36)
    assert 1 - mixture.cosine == pytest.approx(loss_of(mixture.file, few, held), rel=0.3)
    assert 0 < mixture.lowest <= mixture.cosine < 1
    assert mixture.predicted == pytest.approx(mixture.cosine, abs=1e-2)
    assert {step.unit for step in steps} == {"matrices", "tensors"}
    assert sorted(path.name for path in mixture.file.parent.glob(".*")) == []


def test_cosine_is_kept(narrow, calibration_file, tmp_path):
    cosine = 0.999
    mixture = quantize_mixture(
        narrow, output=tmp_path / "m.gguf", cosine=cosine, calibration=[calibration_file], threads=2
    )
    assert mixture.cosine >= cosine
    assert mixture.size < narrow.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize(
    ("backbone", "kind"), [("eurobert", "BF16"), ("qwen3", "F32"), ("qwen3", "Q8_0")]
)
def test_other_sources(kind, backbone, converted, calibration_file, tmp_path):
    source = converted(backbone, "retrieval", kind)
    size = int(0.9 * converted(backbone, "retrieval", "Q8_0").stat().st_size)
    mixture = quantize_mixture(
        source,
        output=tmp_path / "m.gguf",
        size=size,
        calibration=[calibration_file],
        allow_requantize=kind == "Q8_0",
        threads=2,
    )
    assert 0.9 * size < mixture.size <= size
    assert mixture.cosine > 0.98
    with Embedder(mixture.file) as model:
        assert model.profile.pooling == "last" if backbone == "qwen3" else True
        assert len(model.encode("a text")) == 64


def test_smallest_possible_is_said(narrow, calibration_file, tmp_path):
    with pytest.raises(ArgumentError, match=r"fits into 0\.10 MB; the smallest takes \d+\.\d\d MB"):
        quantize_mixture(
            narrow, output=tmp_path / "m.gguf", size=100_000, calibration=[calibration_file]
        )
    assert not list(tmp_path.iterdir())


def test_best_possible_is_said(narrow, calibration_file, tmp_path):
    with pytest.raises(ArgumentError, match=r"keeps a mean cosine of 0\.9999999; the best, of"):
        quantize_mixture(
            narrow,
            output=tmp_path / "m.gguf",
            cosine=0.9999999,
            tensor_types=["Q4_0"],
            calibration=[calibration_file],
        )
    assert not list(tmp_path.iterdir())


def arguments(narrow, calibration_file, tmp_path, **changes):
    return {
        "source": narrow,
        "output": tmp_path / "m.gguf",
        "size": 13_000_000,
        "calibration": [calibration_file],
    } | changes


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"size": None}, ArgumentError, "a size or a cosine"),
        ({"cosine": 0.9}, ArgumentError, "a size or a cosine"),
        ({"size": 0}, ArgumentError, "the target size is 0 bytes"),
        ({"size": 10**12}, ArgumentError, "already; name a smaller size"),
        ({"size": None, "cosine": 1.0}, ArgumentError, "lies between 0 and 1"),
        ({"size": None, "cosine": math.nan}, ArgumentError, "lies between 0 and 1"),
        ({"calibration": []}, ArgumentError, "name some"),
        (
            {"tensor_types": ["Q4_K_M"]},
            ArgumentError,
            "'Q4_K_M' is not a type that a matrix can have",
        ),
        ({"tensor_types": ["BF16"]}, ArgumentError, "'BF16' is not a type that a matrix can have"),
        ({"output": "folder"}, OutputError, r"does not end in \.gguf"),
        ({"calibration": ["missing.txt"]}, TextError, "cannot read missing.txt"),
        ({"imatrix": "missing.gguf"}, ModelError, "cannot read the importance matrix"),
    ],
)
def test_bad_arguments(changes, error, message, narrow, calibration_file, tmp_path):
    with pytest.raises(error, match=message) as caught:
        quantize_mixture(**arguments(narrow, calibration_file, tmp_path, **changes))
    assert isinstance(caught.value, JlocalError)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bad_files(narrow, calibration_file, converted, tmp_path):
    def fails(error, message, **changes):
        with pytest.raises(error, match=message) as caught:
            quantize_mixture(**arguments(narrow, calibration_file, tmp_path, **changes))
        assert "\n" not in str(caught.value)

    there = tmp_path / "there.gguf"
    there.write_bytes(b"x")
    fails(OutputError, "exists", output=there)
    fails(OutputError, "is the input itself", output=narrow, overwrite=True)
    fails(ModelError, "is quantised already", source=converted("qwen3", kind="Q8_0", whole=True))
    fails(ModelError, "is not a usable GGUF file", source=there)
    assert [path.name for path in tmp_path.iterdir()] == ["there.gguf"]
    assert there.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no calibration texts in it"),
        (b" \n\t\n", "has no calibration texts in it"),
        (b"one\ntwo\nthree\n", "3 texts are too few"),
        (b"\x00\xff\xfe\x80" * 40, "texts.bad"),
        (b"the same text\n" * 40, "too few distinct texts to hold some out"),
        (b"".join(b"%d\n" % number for number in range(40)), r"tokens together, too few"),
    ],
    ids=["empty", "blank", "few", "binary", "repeated", "short"],
)
def test_bad_texts(content, message, narrow, tmp_path):
    texts = tmp_path / "texts.bad"
    texts.write_bytes(content)
    done = run(narrow, "--target-size", 13, "--calibrate", texts, "-o", tmp_path / "m.gguf")
    assert done.exit_code == 1
    assert re.search(message, done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert isinstance(done.exception, SystemExit)
    assert list(tmp_path.iterdir()) == [texts]


def test_text_that_is_too_long(narrow, calibration_file, matrix, tmp_path):
    """It is named by its place in the file, whether a matrix is computed from it or it is held."""
    lines = calibration_file.read_text().splitlines()
    texts = tmp_path / "long.txt"
    for place, options in ((44, {}), (47, {"imatrix": matrix}), (44, {"imatrix": matrix})):
        changed = [*lines[:place], "word " * 70_000, *lines[place + 1 :]]
        texts.write_text("\n".join(changed))
        changes = {"calibration": [texts], **options}
        with pytest.raises(TextError, match=rf"^text {place} has 70,\d+ tokens, above the limit"):
            quantize_mixture(**arguments(narrow, texts, tmp_path, **changes))
        assert list(tmp_path.iterdir()) == [texts]


def test_matrix_of_another_model(narrow, few, matrix, calibration_file, tmp_path):
    options = ("--target-size", 3, "--calibrate", calibration_file, "--imatrix", matrix)
    done = run(few, *options, "-o", tmp_path / "m.gguf")
    assert done.exit_code == 1
    assert "is an importance matrix of another model than" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_texts_are_parted():
    searched, held = split(Calibration([*"abcdefgha"], ["x"]))
    assert (searched.texts, held.texts) == ([*"abcefg"], [*"dh"])


# The command line


def test_command_says_what_it_chose(narrow, calibration_file, tmp_path):
    target = tmp_path / "m.gguf"
    done = run(narrow, "--target-size", 13, "--calibrate", calibration_file, "-o", target)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{target}\n"
    assert target.stat().st_size <= 13_000_000
    lines = done.stderr.splitlines()
    assert lines[0].split() == ["MB", "bits", "types"]
    groups = {line.split()[0]: line for line in lines[1:-2]}
    assert groups.keys() == {
        *("token_embd", "attn_q", "attn_k", "attn_v", "attn_output"),
        *("ffn_gate", "ffn_up", "ffn_down"),
    }
    kind = stored_types(read_header(target))["token_embd.weight"]
    assert groups["token_embd"].endswith(f" {kind}")
    size, cosine, lowest = re.match(
        r"([\d.]+) MB\. Cosine to the source, on 12 texts that were held out: mean ([\d.]+), "
        r"lowest ([\d.]+) \(mean expected from 36 others: 0\.9\d+\)$",
        " ".join(lines[-2:]),
    ).groups()
    assert float(size) == pytest.approx(target.stat().st_size / 1e6, abs=0.01)
    assert 0 < float(lowest) <= float(cosine) <= 1


def test_page_fits_a_terminal():
    """Also where each layer of a deep model has another type."""
    kinds = list(TENSOR_TYPES)
    matrices = {f"blk.{layer}.attn_output.weight": (1024, 256) for layer in range(44)}
    chosen = {name: kinds[number % len(kinds)] for number, name in enumerate(matrices)}
    mixture = Mixture(Path("m.gguf"), 10**10, chosen, matrices, 0.99, 0.98, 0.97, 10**4, 10**4)
    lines = list(itertools.chain(*(part.split("\n") for part in page(mixture))))
    assert max(map(len, lines)) <= 80
    assert " ".join(lines[1:-2]).count("2 ") == len(kinds)
    assert lines[2].startswith(" " * 28 + "2 ")


def test_command_with_a_cosine_and_named_types(narrow, calibration_file, tmp_path):
    target = tmp_path / "m.gguf"
    named = ("--mix-of", "q8_0", "--mix-of", "Q4_0")
    done = run(
        *(
            narrow,
            "--target-cosine",
            0.99,
            "--calibrate",
            calibration_file,
            "-o",
            target,
            "-q",
            *named,
        )
    )
    assert (done.exit_code, done.stderr) == (0, "")
    types = stored_types(read_header(target))
    assert {kind for name, kind in types.items() if "norm" not in name} <= {"Q8_0", "Q4_0"}
    with Embedder(target) as small, Embedder(narrow) as whole:
        assert np.mean(small.encode("a text") @ whole.encode("a text")) > 0.98


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "say what to make"),
        ("--mix-of Q4_0 --to Q8_0", "--mix-of needs"),
        ("--target-size 9", "--calibrate default"),
        ("--target-size 9 --target-cosine 0.9 --calibrate default", "give --target-size or"),
        ("--target-size 9 --to Q8_0 --calibrate default", "leave out --to"),
        ("--target-size 9 --pure --calibrate default", "leave out --pure"),
        ("--target-size 9 --tensor-type a=Q8_0 --calibrate default", "leave out --tensor-type"),
        ("--target-size 0 --calibrate default", "x>0"),
        ("--target-size nan --calibrate default", "nan"),
        ("--target-size 1e300 --calibrate default", "already"),
        ("--target-size inf --calibrate default", "inf"),
        ("--target-cosine 1 --calibrate default", "0<x<1"),
        ("--target-cosine nan --calibrate default", "nan"),
        ("--target-size 0.1 --calibrate default", "the smallest takes"),
        (
            "--target-size 9 --calibrate default --mix-of Q4_K_M",
            "not a type that a matrix can have",
        ),
    ],
)
def test_bad_options(options, message, narrow, tmp_path):
    done = run(narrow, "-o", tmp_path / "m.gguf", *options.split())
    assert done.exit_code in (1, 2)
    assert message in done.stderr.splitlines()[-1]
    assert isinstance(done.exception, SystemExit)
    assert not list(tmp_path.iterdir())


def test_interrupted_search_leaves_nothing(converted, calibration_file, tmp_path):
    """Ctrl-C while there is a hidden file: the model in a type that can be searched with."""
    source = converted("qwen3", kind="BF16", whole=True)
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "jlocal", "quantize", source, "--target-cosine", "0.9999"),
            *("--calibrate", calibration_file, "-o", tmp_path / "m.gguf"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) == 1
    assert child.poll() is None, child.stderr.read()
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, output, errors.strip()) == (130, "", "Interrupted.")
    assert not list(tmp_path.iterdir())
