"""Quantised files: every type, what may be asked for on top, and what is refused."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

import gguf
from jlocal import Embedder
from jlocal.cli import cli
from jlocal.errors import ArgumentError, JlocalError, ModelError, OutputError
from jlocal.gguf import imatrix
from jlocal.gguf.header import read_header
from jlocal.gguf.types import FILE_TYPES, TENSOR_TYPES
from jlocal.llama.quantize import NEEDS_IMPORTANCE_MATRIX, stored_types
from jlocal_convert import quantize
from jlocal_convert.gguf_file import DIRECT_TYPES
from jlocal_convert.quantization.run import Options, exactly
from support.gguf_files import GGUF, tensor_bytes, values

pytestmark = pytest.mark.slow

TOPICS = ("cats", "dogs", "rain", "law", "bread", "trees", "music", "rivers")
TEXTS = [f"a text about {topic}" for topic in TOPICS]
# The least cosine of a random model's vectors to the source's, far below what is measured: a file
# whose weights were not those of the source would have about 0.
LEAST = {
    **dict.fromkeys(("F32", "F16", "BF16", "Q8_0"), 0.999),
    **dict.fromkeys(("Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0"), 0.97),
    **dict.fromkeys(("Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS"), 0.93),
    **dict.fromkeys(("Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"), 0.8),
    **dict.fromkeys(("Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS"), 0.5),
    **dict.fromkeys(("IQ1_M", "IQ1_S"), 0.4),
}
ORDER = ("IQ1_S", "IQ2_XXS", "IQ2_M", "IQ3_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F32")


def vectors(file):
    with Embedder(file, compute_type="stored") as model:
        return model.encode(TEXTS).astype(np.float64)


def types_of(file):
    return stored_types(read_header(file))


def matrices_of(file):
    """Name -> type of all but the norms."""
    return {name: kind for name, kind in types_of(file).items() if "norm" not in name}


@pytest.fixture(scope="module")
def matrix(few, calibration_file, tmp_path_factory):
    """Return the file of the model's importance matrix."""
    folder = tmp_path_factory.mktemp("matrix")
    target = folder / "few.imatrix.gguf"
    quantize(
        few,
        types=["Q8_0"],
        output=folder / "q.gguf",
        calibration=[calibration_file],
        save_imatrix=target,
    )
    return target


@pytest.fixture(scope="module")
def every(few, matrix, tmp_path_factory):
    """Type -> file, of all types."""
    folder = tmp_path_factory.mktemp("every") / "made" / "here"

    def make(kind):
        weighted = None if kind in DIRECT_TYPES else matrix
        return quantize(few, types=[kind], output=folder, imatrix=weighted, threads=1)

    # What takes time is that llama.cpp makes its grids for the small types, on one thread.
    with ThreadPoolExecutor(2) as pool:
        files = [file for made in pool.map(make, FILE_TYPES) for file in made]
    assert [file.name for file in files] == [f"few-retrieval-{kind}.gguf" for kind in FILE_TYPES]
    assert sorted(folder.iterdir()) == sorted(files)
    return dict(zip(FILE_TYPES, files, strict=True))


# Every type


def test_every_type_is_near_the_source(every, few):
    assert LEAST.keys() == FILE_TYPES.keys()
    before = vectors(few)
    cosines = {kind: (vectors(file) * before).sum(1) for kind, file in every.items()}
    assert all(np.isfinite(found).all() for found in cosines.values())
    assert {kind for kind, found in cosines.items() if found.min() < LEAST[kind]} == set()
    means = [cosines[kind].mean() for kind in ORDER]
    assert means == sorted(means)
    sizes = [every[kind].stat().st_size for kind in ORDER]
    assert sizes == sorted(sizes)


def test_every_file_says_what_it_is(every, few):
    before = values(few)
    for kind, file in every.items():
        found = values(file)
        assert found["general.file_type"] == FILE_TYPES[kind]
        for key, value in before.items():
            if key not in ("general.file_type", "general.quantization_version"):
                assert found[key] == value, (kind, key)
        assert set(types_of(file)) == set(types_of(few))
        assert {t for n, t in types_of(file).items() if "norm" in n} == {"F32"}
        if kind not in DIRECT_TYPES:
            assert found["quantize.imatrix.file"] == "few.imatrix.gguf"
            assert found["quantize.imatrix.dataset"] == "texts.txt"
            assert found["quantize.imatrix.entries_count"] == 14
            assert found["quantize.imatrix.chunks_count"] == 96


def test_a_matrix_lowers_the_weighted_error(every, few, matrix, tmp_path):
    """In a matrix's product with what goes into it, which is what it weighs."""
    kind, name = "Q3_K_S", "blk.0.ffn_gate.weight"
    (bare,) = quantize(few, types=[kind], output=tmp_path / "bare.gguf")
    entry = imatrix.read(matrix).entries[name]
    importance = entry.squares[0] / entry.counts[0]

    def loss(file):
        return (np.square(rows_of(file, name) - rows_of(few, name)) * importance).sum()

    assert loss(every[kind]) < 0.99 * loss(bare)


def rows_of(file, name):
    whole = GGUF(file)
    (tensor,) = (tensor for tensor in whole.tensors if tensor[0] == name)
    return gguf.quants.dequantize(whole.rows(*tensor[1:]), tensor[2]).astype(np.float64)


def test_threads_and_repetition_change_nothing(few, matrix, tmp_path):
    files = [
        quantize(few, types=["Q4_K_M"], output=tmp_path / f"{n}.gguf", imatrix=matrix, threads=n)[0]
        for n in (1, 3)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_convert_makes_the_same(few_checkpoint, calibration_file, tmp_path):
    """`convert --to Q2_K_S --calibrate FILE` is a conversion to F32 and a quantisation of it.

    Of the types that need a matrix this is the quickest to make.
    """
    done = run(
        *("convert", few_checkpoint, "--to", "F32", "--to", "Q2_K_S"),
        *("--calibrate", calibration_file, "-o", tmp_path, "-q"),
    )
    assert done.exit_code == 0, done.output
    source, file = (tmp_path / f"few-retrieval-{kind}.gguf" for kind in ("F32", "Q2_K_S"))
    (again,) = quantize(
        source, types=["Q2_K_S"], output=tmp_path / "q", calibration=[calibration_file]
    )
    assert tensor_bytes(file) == tensor_bytes(again)
    assert values(file) == values(again)


# What may be asked for


@pytest.mark.parametrize(
    ("file_type", "kind"),
    [("F16", "Q8_0"), ("F16", "Q3_K"), ("F16", "IQ2_S"), ("Q4_K_M", "Q2_K"), ("Q8_0", "IQ4_XS")],
)
def test_embedding_type(file_type, kind, few, tmp_path):
    """Alone in an F16 file as well; a lookup has no importance, and needs none."""
    options = Options(embedding_type=kind)
    (file,) = quantize(few, types=[file_type], output=tmp_path / "q.gguf", options=options)
    kinds = matrices_of(file)
    assert kinds.pop("token_embd.weight") == kind
    assert kind not in kinds.values()
    assert np.isfinite(vectors(file)).all()


def with_head(source, target):
    """Copy a file, with a vocabulary head of its own."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "qwen3")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kinds = field.types
            writer.add_key_value(key, field.contents(), *kinds[:2])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.add_tensor("output.weight", np.ones((2048, 256), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def test_output_type(few, tmp_path):
    source = with_head(few, tmp_path / "head.gguf")
    done = quantize_command(
        *(source, "--to", "Q5_K_M", "--output-type", "q2_k", "--embedding-type", "q4_k"),
        *("-o", tmp_path / "q.gguf"),
    )
    assert done.exit_code == 0, done.output
    kinds = matrices_of(tmp_path / "q.gguf")
    assert (kinds["output.weight"], kinds["token_embd.weight"]) == ("Q2_K", "Q4_K")
    refused("no vocabulary head", few, "--to", "Q5_K_M", "--output-type", "Q2_K", output=tmp_path)


def test_tensor_types(few, tmp_path):
    """The first expression that is found decides; the rest is as the file type has it."""
    target, plain = tmp_path / "q.gguf", tmp_path / "plain.gguf"
    named = [r"blk\.0\.ffn_down=q8_0", "ffn=Q5_K", r"attn_[qk]\.=IQ4_NL"]
    options = [part for pair in named for part in ("--tensor-type", pair)]
    assert quantize_command(few, "--to", "Q4_K_M", "-o", plain).exit_code == 0
    done = quantize_command(few, "--to", "Q4_K_M", *options, "-o", target)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{target}\n", "")
    found, expected = matrices_of(target), matrices_of(plain)
    for name in expected:
        if "ffn" in name:
            expected[name] = "Q8_0" if name == "blk.0.ffn_down.weight" else "Q5_K"
        elif "attn_q" in name or "attn_k" in name:
            expected[name] = "IQ4_NL"
    assert found == expected


def test_exactly_one_tensor(few, tmp_path):
    name = "blk.1.attn_v.weight"
    (file,) = quantize(
        few,
        types=["Q8_0"],
        output=tmp_path / "q.gguf",
        options=Options(tensor_types=((exactly(name), "F16"),)),
    )
    assert [n for n, kind in matrices_of(file).items() if kind != "Q8_0"] == [name]


def test_pure(few, tmp_path):
    done = quantize_command(few, "--to", "Q4_K_M", "--pure", "-o", tmp_path / "q.gguf")
    assert done.exit_code == 0, done.output
    assert set(matrices_of(tmp_path / "q.gguf").values()) == {"Q4_K"}


@pytest.mark.parametrize("file_type", ["Q3_K_L", "IQ3_XS", "IQ3_M", "IQ2_S", "IQ2_M", "Q2_K_S"])
def test_the_tensor_type_of_a_file_type(file_type, few, matrix, tmp_path):
    """Where their names do not say so."""
    quantize(
        few,
        types=[file_type],
        output=tmp_path / "q.gguf",
        options=Options(pure=True, embedding_type="Q8_0"),
        imatrix=matrix,
    )
    (found,) = {kind for name, kind in matrices_of(tmp_path / "q.gguf").items() if "blk" in name}
    assert file_type in TENSOR_TYPES[found].file_types


def test_a_quantised_source(every, few, tmp_path):
    for kind in ("Q4_0", "Q8_0", "IQ3_M"):
        refused("is quantised already", every[kind], "--to", "Q4_0", output=tmp_path)
    options = ("--to", "Q4_0", "--allow-requantize")
    refused("is quantised already", every["Q5_K_M"], *options, output=tmp_path)
    done = quantize_command(every["Q8_0"], *options, "-o", tmp_path / "q.gguf")
    assert done.exit_code == 0, done.output
    assert (vectors(tmp_path / "q.gguf") * vectors(few)).sum(1).min() > 0.9


def test_a_model_by_its_name(tmp_path):
    arguments = ["--to", "Q4_0", "--allow-requantize", "-o", str(tmp_path)]
    done = CliRunner().invoke(cli, ["quantize", "starter", *arguments])
    assert done.exit_code == 0, done.output
    file = tmp_path / "jlocal-starter-retrieval-Q4_0.gguf"
    assert done.stdout == f"{file}\n"
    assert "Q4_0" in types_of(file).values()
    done = CliRunner().invoke(cli, ["quantize", "small:F16", "--to", "Q4_0", "-o", str(tmp_path)])
    assert done.exit_code == 1
    assert "jlocal pull small-retrieval:F16" in done.stderr


def test_narrow_rows(converted, tmp_path):
    """Where no super-block fits llama.cpp takes another type; what was named is refused."""
    source = converted("qwen3", "retrieval", "F16")
    (file,) = quantize(source, types=["Q4_K_M"], output=tmp_path)
    assert file.name == "qwen3-retrieval-Q4_K_M.gguf"
    assert not [kind for kind in matrices_of(file).values() if kind.endswith("_K")]
    option = "--tensor-type", "attn_q=Q4_K"
    refused("the length of its rows, 64, is not a multiple of 256", source, "--to", "Q8_0", *option,
            output=tmp_path / "out")  # fmt: skip


def test_progress_and_names(few, calibration_file, tmp_path):
    steps = []
    files = quantize(
        few,
        types=["q4_k_m", "Q8_0", "Q4_K_M"],
        output=tmp_path / "new",
        calibration=[calibration_file],
        progress=steps.append,
    )
    assert [file.name for file in files] == ["few-retrieval-Q4_K_M.gguf", "few-retrieval-Q8_0.gguf"]
    assert [step.file for step in steps if step.done == step.total] == [
        "few-retrieval.imatrix.gguf",
        *(file.name for file in files),
    ]
    assert {step.unit for step in steps} == {"texts", "tensors"}
    assert sorted((tmp_path / "new").iterdir()) == sorted(files)


# What is refused


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)])


def quantize_command(*arguments):
    return run("quantize", *arguments)


def refused(says, *arguments, output):
    """One line on stderr that says so, status 1, and nothing new."""
    before = sorted(output.iterdir()) if output.is_dir() else None
    done = quantize_command(*arguments, "-o", output)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert done.stderr.startswith("Error: ")
    assert says in done.stderr
    assert (sorted(output.iterdir()) if output.is_dir() else None) == before


REFUSED = [
    ("--to Q9_Z", "there is no type 'Q9_Z'; choose from F32, F16"),
    ("--to Q4_K", "there is no type 'Q4_K'"),
    *(
        (f"--to {kind}", f"{kind} needs an importance matrix")
        for kind in sorted(NEEDS_IMPORTANCE_MATRIX)
    ),
    ("--to Q8_0 --to IQ2_M", "IQ2_M needs an importance matrix"),
    ("--to F16 --to BF16 --calibrate default", "F16, BF16: these types do not use"),
    ("--to Q4_0 --calibrate default --imatrix x.gguf", "give either"),
    ("--to Q4_0 --save-imatrix x.gguf", "no matrix to save"),
    ("--to Q4_0 --embedding-type Q4_K_M", "'Q4_K_M' is not a tensor type"),
    ("--to Q4_0 --embedding-type IQ2_XXS", "token embeddings cannot be IQ2_XXS"),
    ("--to Q4_0 --tensor-type attn_q=IQ2_S", "IQ2_S for blk.0.attn_q.weight needs"),
    ("--to Q4_0 --tensor-type attn_q=Q9", "'Q9' is not a tensor type"),
    ("--to Q4_0 --tensor-type attn_z=Q8_0", "matches 'attn_z'"),
    ("--to Q4_0 --tensor-type attn_norm=Q8_0", "matches 'attn_norm'"),
    ("--to Q4_0 --tensor-type (=Q8_0", "'(' is not a regular expression"),
    ("--to F16 --tensor-type attn_q=Q8_0", "only the token embeddings"),
]


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_refused(options, says, few, tmp_path):
    refused(says, few, *options.split(), output=tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["attn_q", "=Q8_0", "attn_q=", ""])
def test_what_is_no_pair(value, few, tmp_path):
    done = quantize_command(few, "--to", "Q4_0", "--tensor-type", value, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("Error: Invalid value for '--tensor-type'")
    assert not list(tmp_path.iterdir())


def test_sources_that_are_none(few, matrix, tmp_path):
    out = tmp_path / "out"
    refused("none.gguf", tmp_path / "none.gguf", "--to", "Q4_0", output=out)
    refused(str(tmp_path), tmp_path, "--to", "Q4_0", output=out)
    for content in (b"", b"GGUF", b"some text\n" * 99, few.read_bytes()[:100_000]):
        bad = tmp_path / "bad.gguf"
        bad.write_bytes(content)
        refused("bad.gguf", bad, "--to", "Q4_0", output=out)
    refused("has no token embeddings", matrix, "--to", "Q4_0", output=out)
    assert not out.exists()


def test_outputs(few, tmp_path):
    file = tmp_path / "few-retrieval-Q4_0.gguf"
    file.write_bytes(b"mine")
    refused("exists; pass", few, "--to", "Q8_0", "--to", "Q4_0", output=tmp_path)
    refused("exists; pass", few, "--to", "Q4_0", output=file)
    refused("is a file", few, "--to", "Q8_0", output=file / "under")
    refused("is one file for 2 types", few, "--to", "Q8_0", "--to", "Q4_0",
            output=tmp_path / "x.gguf")  # fmt: skip
    assert file.read_bytes() == b"mine"
    before = few.read_bytes()
    link = tmp_path / "link.gguf"
    link.symlink_to(few)
    for target in (few, link):
        refused("is the input itself", few, "--to", "Q4_0", "--force", output=target)
    refused("is the input itself", few, "--to", "F16", "--force", output=few.parent)
    assert few.read_bytes() == before
    done = quantize_command(few, "--to", "Q4_0", "--force", "-o", tmp_path)
    assert (done.exit_code, done.stdout) == (0, f"{file}\n")
    assert set(matrices_of(file).values()) == {"Q4_0", "Q6_K"}


def test_library_errors(few, tmp_path):
    def fails(error, says, **options):
        with pytest.raises(error, match=says) as caught:
            quantize(few, **{"types": ["Q4_0"], "output": tmp_path / "out"} | options)
        assert isinstance(caught.value, JlocalError)
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.iterdir())

    fails(OutputError, "no type was named", types=[])
    fails(OutputError, "there is no type", types=["x\n\x1b[31m"])
    fails(OutputError, "cannot be a folder|cannot make", output="x\0y")
    fails(ArgumentError, "not a regular expression", options=Options(tensor_types=(("[", "Q8_0"),)))
    fails(ModelError, "importance matrix", imatrix="none")


def test_what_llama_cpp_refuses_is_said(few, tmp_path):
    """Weights that are not finite end the run, and no file is left."""
    data = bytearray(few.read_bytes())
    header = read_header(few)
    (tensor,) = (t for t in header.tensors if t.name == "blk.0.attn_q.weight")
    start = header.data_start + tensor.offset
    data[start : start + 2] = b"\x00\x7e"
    bad = tmp_path / "nan.gguf"
    bad.write_bytes(data)
    refused("cannot make Q8_0 from", bad, "--to", "Q8_0", "--to", "Q4_K_M", output=tmp_path)


@pytest.mark.parametrize("group", [False, True], ids=["process", "terminal"])
def test_ctrl_c_leaves_nothing(group, few, matrix, tmp_path):
    """Whether only the process is told, or its child as well, as by a terminal."""
    out = tmp_path / "out"
    kinds = ("IQ2_XXS", "IQ1_S", "IQ1_M", "IQ2_S")
    options = [part for kind in kinds for part in ("--to", kind)]
    child = subprocess.Popen(
        [sys.executable, "-m", "jlocal", "quantize", few, *options, "--imatrix", matrix, "-o", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while child.poll() is None and not (out.is_dir() and list(out.iterdir())):
        time.sleep(0.02)
    assert child.poll() is None, child.stderr.read()
    (os.killpg if group else os.kill)(child.pid, signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, output, errors.strip()) == (130, "", "Interrupted.")
    assert not list(out.iterdir())
