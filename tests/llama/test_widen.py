"""Quantised weights widened to bfloat16 in memory, where jlocal's own kernels are not used."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import gguf
from jlocal import Embedder
from jlocal.embed.run import EncodeOptions, run_metadata
from jlocal.errors import ArgumentError, DeviceWarning, ModelError
from jlocal.gguf.header import read_header
from jlocal.llama.library import api
from jlocal.llama.widen import Widened
from jlocal_convert import convert
from support.alike import below, cosines
from support.gguf_files import GGUF, tensor_bytes
from support.texts import AWKWARD

pytestmark = pytest.mark.slow

TEXTS = list(AWKWARD.values())

BACKBONES = ("qwen3", "eurobert")


@pytest.fixture(autouse=True)
def without_kernels(monkeypatch):
    monkeypatch.setenv("JLOCAL_KERNELS", "0")


linux = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has memfd")


def widened(header, tmp_path):
    """Return the file in memory as one on disk."""
    file = Widened(header, threads=2)
    try:
        file.wait()
        return shutil.copyfile(file.path, tmp_path / "wide.gguf")
    finally:
        file.close()


@pytest.fixture(scope="module")
def kinds(small_checkpoint, tmp_path_factory):
    """Type -> file, of types that llama.cpp writes."""
    types = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q6_K", "IQ4_NL", "IQ4_XS")
    output = tmp_path_factory.mktemp("kinds")
    files = convert(small_checkpoint, tasks=("retrieval",), types=types, output=output)
    return dict(zip(types, files, strict=True))


def assert_is_the_same_model(narrow, wide):
    """Metadata and lookups are as they were; matrices are what the blocks say, rounded once."""
    before, after = GGUF(narrow), GGUF(wide)
    assert after.values == before.values
    assert [tensor[:2] for tensor in after.tensors] == [tensor[:2] for tensor in before.tensors]
    narrow_bytes, wide_bytes = tensor_bytes(narrow), tensor_bytes(wide)
    changed = 0
    for name, shape, kind, offset in before.tensors:
        if name.startswith("blk.") and len(shape) == 2:
            values = gguf.quants.dequantize(before.rows(shape, kind, offset), kind)
            rounded = gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16)
            assert wide_bytes[name] == ("BF16", shape, rounded.tobytes()), name
            changed += 1
        else:
            assert wide_bytes[name] == narrow_bytes[name]
    assert changed > 10


@linux
@pytest.mark.parametrize("backbone", BACKBONES)
def test_widened_q8_0(converted, tmp_path, backbone):
    path = converted(backbone, kind="Q8_0")
    assert_is_the_same_model(path, widened(read_header(path), tmp_path))


@linux
def test_widened_types(kinds, tmp_path):
    for path in kinds.values():
        assert_is_the_same_model(path, widened(read_header(path), tmp_path))


@linux
@pytest.mark.parametrize("compute_type", ["stored", "bfloat16"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_q8_0_equals_the_reference(converted, expected, backbone, compute_type):
    path = converted(backbone, kind="Q8_0")
    with Embedder(path, compute_type=compute_type) as model:
        assert model.compute_type == compute_type
        assert run_metadata(model, EncodeOptions())["compute_type"] == compute_type
        for prompt, vectors in expected(backbone, "retrieval").items():
            assert below(0.999, model.encode(TEXTS, prompt), vectors) == {}


@linux
def test_widened_weights_capture_what_they_pool(converted):
    path = converted("qwen3", kind="Q8_0")
    with (
        Embedder(path, compute_type="bfloat16") as ours,
        Embedder(path, compute_type="bfloat16", capture=False) as pooled,
    ):
        assert below(0.9999, ours.encode(TEXTS), pooled.encode(TEXTS)) == {}


@linux
def test_widened_weights_are_those_that_compute(converted, expected):
    """A file of few bits, stored and widened, must differ a little, or nothing was widened."""
    path = converted("qwen3", kind="Q8_0")
    with (
        Embedder(path, compute_type="stored") as narrow,
        Embedder(path, compute_type="bfloat16") as wide,
    ):
        found = cosines(narrow.encode(TEXTS, "query"), wide.encode(TEXTS, "query"))
    assert 0.999 < found.min() < 1 - 1e-6


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_automatic_choice(converted, kind):
    features = api.llama_print_system_info().decode()
    fast = "AVX512_BF16 = 1" in features
    gpu = api.llama_supports_gpu_offload()
    expected = "bfloat16" if kind == "Q8_0" and fast and not gpu else "stored"
    with Embedder(converted("qwen3", kind=kind)) as model:
        assert model.compute_type == expected


@linux
def test_nothing_to_widen(converted):
    with pytest.raises(ModelError, match="no quantised weights"):
        Embedder(converted("qwen3", kind="F16"), compute_type="bfloat16")
    with pytest.raises(ArgumentError, match="'stored'"):
        Embedder(converted("qwen3"), compute_type="float16")


@linux
def test_no_file_stays_open(converted):
    path = converted("qwen3", kind="Q8_0")
    with Embedder(path, compute_type="bfloat16") as model:
        opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
        assert not any("memfd:jlocal" in name or path.name in name for name in opened)
        assert model.encode("a").shape == (model.profile.dimensions,)


@linux
def test_a_file_that_was_cut_off(converted, tmp_path):
    """The header alone does not tell when only the last tensor is short."""
    whole = read_header(converted("qwen3", kind="Q8_0"))
    last = max(tensor.offset for tensor in whole.tensors)
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole.path.read_bytes()[: whole.data_start + last + 4])
    for compute_type in ("stored", "bfloat16"):
        with pytest.raises(ModelError, match=r"cannot load .*cut\.gguf"):
            Embedder(path, compute_type=compute_type)


@linux
@pytest.mark.parametrize("shape", [(1 << 40, 1 << 40), (1 << 63, 1 << 63), (33, 8), (0, 1 << 62)])
def test_hostile_shapes(converted, tmp_path, shape):
    """What the header claims must be in the file, before memory is reserved for it."""
    header = read_header(converted("qwen3", kind="Q8_0"))
    number = next(n for n, tensor in enumerate(header.tensors) if "attn_q.weight" in tensor.name)
    tensors = list(header.tensors)
    tensors[number] = replace(tensors[number], shape=shape)
    hostile = replace(header, tensors=tuple(tensors))
    if 0 in shape:
        # Nothing is widened then; llama.cpp refuses what does not fit the model.
        assert_refused(widened(hostile, tmp_path))
        return
    with pytest.raises(ModelError, match=r"attn_q\.weight"):
        Widened(hostile, threads=1)


def assert_refused(path):
    with pytest.raises(ModelError, match=r"cannot load|attn_q"):
        Embedder(path)


@linux
def test_short_of_memory(converted):
    """A limit of the process stands for a full machine: one line, and what helps."""
    path = converted("qwen3", kind="Q8_0")
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from jlocal.cli import main; main()"
    )
    command = [sys.executable, "-c", script, "embed", "-c", "a", "-m", path]
    done = subprocess.run(
        [*command, "--compute-type", "bfloat16"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: cannot widen the weights of ")
    assert "--compute-type stored" in line
    done = subprocess.run(
        [*command, "--compute-type", "stored"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0


@pytest.mark.skipif(api.llama_supports_gpu_offload(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(converted):
    with pytest.warns(DeviceWarning, match="no GPU"), Embedder(converted("qwen3"), gpu_layers=4):
        pass
    command = [sys.executable, "-m", "jlocal", "embed", "-c", "a", "-ngl", "4"]
    done = subprocess.run(
        [*command, "-m", converted("qwen3")], capture_output=True, text=True, check=True
    )
    assert done.stderr == "Note: llama.cpp finds no GPU here; computing on the CPU.\n"
    assert done.stdout.startswith('{"id"')
