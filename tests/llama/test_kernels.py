"""jlocal's own kernels: what they compute, where they are taken, and what refuses them."""

import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from jlocal import Embedder
from jlocal.embed.run import EncodeOptions, run_metadata
from jlocal.errors import ArgumentError, ModelError
from jlocal.gguf.header import read_header
from jlocal.llama.batch import Batch
from jlocal.llama.choice import weights_size
from jlocal.llama.kernels import kernels
from jlocal.llama.library import api, ggml
from jlocal.llama.model import Model
from jlocal.llama.wide import in_layer
from jlocal.locations import cache_folder
from jlocal.models.profile import read_profile
from support.alike import below, cosines
from support.texts import AWKWARD, PROMPTS, prose

pytestmark = pytest.mark.slow

TEXTS = list(AWKWARD.values())
BACKBONES = ("qwen3", "eurobert")
TYPES = ("bfloat16", "int8")

needed = pytest.mark.skipif(not kernels().families, reason=f"no kernels: {kernels().reason}")


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setenv("JLOCAL_KERNELS", "0")


@needed
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
@pytest.mark.parametrize("compute_type", TYPES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_vectors_are_those_of_the_reference(converted, expected, backbone, compute_type, kind):
    with Embedder(converted(backbone, kind=kind), compute_type=compute_type) as model:
        assert model.compute_type == compute_type
        assert run_metadata(model, EncodeOptions())["compute_type"] == compute_type
        floor = 0.9999 if compute_type == "bfloat16" and kind != "Q8_0" else 0.999
        for prompt, vectors in expected(backbone, "retrieval").items():
            assert below(floor, model.encode(TEXTS, prompt), vectors) == {}


@needed
@pytest.mark.parametrize("compute_type", ["stored", *TYPES])
def test_a_graph_ends_where_it_is_captured(converted, compute_type):
    """The product with the vocabulary would take an eighth of the time of a short batch."""
    asked = []

    @api.ggml_backend_sched_eval_callback
    def capture(tensor, ask, _user_data):
        asked.append(ggml.ggml_get_name(tensor))
        return ask and asked[-1] == b"result_norm"

    profile = read_profile(converted("qwen3", kind="Q8_0"))
    model = Model(profile, threads=2, gpu_layers=0, compute_type=compute_type)
    params = api.llama_context_default_params()
    params.cb_eval = capture
    params.n_outputs_max = 8
    context = model.new_context(params, capture=True)
    batch = Batch(64)
    for _ in batch.fill([np.arange(1, 20, dtype=np.int32)], every_output=False):
        model.check_decoded(api.llama_decode(context, batch.raw))
    api.llama_free(context)
    assert asked[-1] == b"result_norm"
    assert asked.count(b"result_norm") == 2


@needed
@pytest.mark.parametrize("compute_type", TYPES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_long_texts_are_those_of_the_reference(converted, reference, backbone, compute_type):
    """Above 512 tokens, all but the last piece of a text leave the last layer nothing to do."""
    texts = [prose(700), prose(1030)]
    with Embedder(converted(backbone, kind="BF16"), compute_type=compute_type) as model:
        ours = model.encode(texts, "query")
    theirs = reference(backbone, "retrieval").encode(texts, PROMPTS["query"])
    assert below(0.999, ours, theirs, (700, 1030)) == {}


@needed
@pytest.mark.parametrize("compute_type", TYPES)
def test_hidden_states_are_captured_before_the_head(converted, compute_type):
    path = converted("qwen3", kind="Q8_0")
    texts = [*TEXTS, prose(700)]
    with (
        Embedder(path, compute_type=compute_type) as ours,
        Embedder(path, compute_type=compute_type, capture=False) as pooled,
    ):
        assert below(0.99999, ours.encode(texts), pooled.encode(texts), range(len(texts))) == {}


@needed
@pytest.mark.parametrize("compute_type", TYPES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_vector_does_not_depend_on_the_texts_beside_it(converted, backbone, compute_type):
    with Embedder(converted(backbone, kind="Q8_0"), compute_type=compute_type) as model:
        together = model.encode([*TEXTS, prose(600)])
        alone = [model.encode(text) for text in (*TEXTS, prose(600))]
    assert below(0.99999, together, alone, range(len(alone))) == {}


@needed
def test_each_type_computes_with_weights_of_its_own(converted):
    """Models of all types live beside each other, and each gives what it gives alone."""
    path = converted("qwen3", kind="Q8_0")
    types = ("stored", *TYPES)
    alone = {}
    for compute_type in types:
        with Embedder(path, compute_type=compute_type) as model:
            alone[compute_type] = model.encode(TEXTS)
    models = {compute_type: Embedder(path, compute_type=compute_type) for compute_type in types}
    for compute_type, model in models.items():
        with model:
            np.testing.assert_array_equal(model.encode(TEXTS), alone[compute_type])
    for a, b in (("stored", "int8"), ("stored", "bfloat16"), ("int8", "bfloat16")):
        assert 0.999 < cosines(alone[a], alone[b]).min() < 1 - 1e-6


@needed
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_auto_gives_up_no_exactness(converted, expected, kind):
    path = converted("qwen3", kind=kind)
    families = kernels().families
    wanted = "stored"
    if kind == "Q8_0":
        wanted = "bfloat16" if "bf16-amx" in families else "int8"
    elif kind == "BF16" and any(name.startswith("bf16") for name in families):
        wanted = "bfloat16"
    theirs = expected("qwen3", "retrieval")["query"]
    with Embedder(path) as ours, Embedder(path, compute_type="stored") as stored:
        assert ours.compute_type == wanted
        ours_lost, stored_lost = (
            1 - cosines(model.encode(TEXTS, "query"), theirs) for model in (ours, stored)
        )
    # Rounding differs from text to text; a type that is rougher would lose several times as much.
    assert ours_lost.mean() <= 1.5 * stored_lost.mean() + 1e-6


@needed
def test_k_quants_are_taken_too(few, tmp_path):
    from jlocal_convert import quantize

    (path,) = quantize(few, types=["Q4_K_M"], output=tmp_path)
    with Embedder(path) as model:
        assert model.compute_type == "stored"
        stored = model.encode(TEXTS)
    for compute_type in TYPES:
        with Embedder(path, compute_type=compute_type) as model:
            assert below(0.999, model.encode(TEXTS), stored) == {}


def test_the_environment_switches_them_off(converted, without_kernels):
    assert kernels().families == ()
    assert kernels().reason == "JLOCAL_KERNELS=0 switches them off"
    with Embedder(converted("qwen3", kind="BF16")) as model:
        assert model.compute_type == "stored"
    with pytest.raises(ModelError, match=r"in int8: .*`jlocal doctor` says why.*'stored'"):
        Embedder(converted("qwen3", kind="Q8_0"), compute_type="int8")
    with pytest.raises(ArgumentError, match="'stored', 'bfloat16' or 'int8'"):
        Embedder(converted("qwen3"), compute_type="float16")


@needed
def test_a_file_is_tried_with_the_kernels_that_will_compute(converted, tmp_path, monkeypatch):
    """The first load of each compute type is a child's; later ones find its record."""
    monkeypatch.setenv("JLOCAL_CACHE", str(tmp_path / "cache"))
    path = converted("qwen3", kind="Q8_0")
    for count, compute_type in enumerate(("stored", *TYPES), 1):
        for _ in range(2):
            Embedder(path, compute_type=compute_type).close()
            assert len(list((cache_folder() / "loaded").iterdir())) == count


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's libraries")
def test_there_is_one_copy_of_ggml():
    script = (
        "import jlocal; from jlocal.llama.kernels import kernels;"
        "jlocal.Embedder('starter').encode('a');"
        "lines = open('/proc/self/maps').read().split();"
        "print(len({word for word in lines if 'libggml-base' in word}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


# llama.cpp says that it was built for a GPU; it computes on the CPU all the same.
ON_A_GPU_BUILD = """
import ctypes, sys
from jlocal.llama.library import api, ggml
api.llama_supports_gpu_offload = lambda: True
import numpy as np
from jlocal import Embedder
from jlocal.llama import kernels
found = kernels.kernels()
print(found.families, found.reason, kernels.identity(), sep="|")
ggml.ggml_backend_reg_by_name.restype = ctypes.c_void_p
with Embedder("starter", threads=1) as model:
    capture = model._model.runtime.scheduler._executor._context._capture
    np.save(sys.argv[1], model.encode(["a", "word " * 300, *map(str, range(50))]))
    print(type(capture).__name__, model.compute_type, kernels.capture_function() is not None)
print(ggml.ggml_backend_reg_by_name(b"JLOCAL"))
"""


@needed
def test_a_build_for_a_gpu_has_the_capture_alone(tmp_path, monkeypatch):
    """It gives the same bits as the one in Python; nothing is registered, and nothing computes."""
    reasons = {"1": "llama.cpp was built for a GPU", "0": "JLOCAL_KERNELS=0 switches them off"}
    for switch, (name, native) in {"1": ("_NativeCapture", True), "0": ("_Capture", False)}.items():
        monkeypatch.setenv("JLOCAL_KERNELS", switch)
        command = [sys.executable, "-c", ON_A_GPU_BUILD, str(tmp_path / f"{switch}.npy")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == [
            f"()|{reasons[switch]}|()",
            f"{name} stored {native}",
            "None",
        ]
    native, python = (np.load(tmp_path / f"{switch}.npy") for switch in ("1", "0"))
    np.testing.assert_array_equal(native, python)


# Stands in for jlocal's library; each case replaces one of its answers.
STUB = """
extern "C" {
int jlocal_kernels_abi() { return %(abi)s; }
const char* jlocal_kernels_ggml_version() { return %(ggml)s; }
const char* jlocal_kernels_refusal() { return %(refusal)s; }
const char* jlocal_kernels_families() { return %(families)s; }
int jlocal_kernels_configure(const char*, int, int) { return 1; }
}
"""
SOUND = {"abi": "2", "ggml": '"@"', "refusal": "nullptr", "families": '"int8"'}
REFUSED = {
    "of another version of jlocal": {"abi": "7"},
    "they are for ggml 0.0.1, and llama.cpp has ggml ": {"ggml": '"0.0.1"'},
    "ggml lays out a tensor differently": {"refusal": '"ggml lays out a tensor differently"'},
    "there are none for this CPU": {"families": '""'},
    # It is no backend of ggml.
    "llama.cpp does not accept them": {},
}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernels are for Linux")
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler")
def test_a_library_that_does_not_fit_is_refused_and_nothing_changes(tmp_path, monkeypatch):
    # Which would be the reason.
    monkeypatch.delenv("JLOCAL_KERNELS", raising=False)
    script = (
        "import sys; from pathlib import Path; from jlocal.llama import kernels;"
        "kernels.LIBRARY = Path(sys.argv[1]); from jlocal import Embedder;"
        "model = Embedder('starter'); model.encode('a');"
        "print(model.compute_type, kernels.kernels().reason, kernels.capture_function())"
    )
    from jlocal.llama.library import ggml

    version = ggml.ggml_version().decode()
    (tmp_path / "text.so").write_text("no library")
    places = {"cannot be loaded": tmp_path / "text.so", "were not compiled": tmp_path / "none.so"}
    for number, (reason, change) in enumerate(REFUSED.items()):
        source = tmp_path / f"{number}.cpp"
        source.write_text((STUB % {**SOUND, **change}).replace("@", version))
        places[reason] = source.with_suffix(".so")
        subprocess.run(["g++", "-shared", "-fPIC", source, "-o", places[reason]], check=True)
    for reason, library in places.items():
        command = [sys.executable, "-c", script, str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert reason in done.stdout
        assert done.stdout.endswith(" None\n")
        assert not done.stdout.startswith("int8")


def test_a_child_of_a_process_that_has_computed_computes():
    """A process that forks has computed with its threads, and its child computes again."""
    if not hasattr(os, "fork") or not kernels().families:
        pytest.skip("no fork, or no kernels")
    script = (
        "import os, sys, jlocal;"
        "parent = jlocal.Embedder('starter'); parent.encode('a'); parent.close();"
        "pid = os.fork();"
        "pid or (jlocal.Embedder('starter').encode('b'), os._exit(0));"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60, check=False)
    assert done.returncode == 0


@needed
def test_a_forked_child_ends_without_the_threads_of_its_parent():
    """At its end it frees its copies of contexts, whose threads it has not."""
    script = (
        "import os, sys, jlocal;"
        "parent = jlocal.Embedder('starter', threads=3); parent.encode(['a ' * 400] * 4);"
        "pid = os.fork();"
        "pid or sys.exit(0);"
        "parent.encode(['a ' * 400] * 4);"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60, check=False)
    assert done.returncode == 0


def test_q8_0_in_bfloat16_takes_no_more_memory_than_the_file_under_amx(converted):
    header = read_header(converted("qwen3", kind="Q8_0"))
    layers = sum(math.prod(tensor.shape) for tensor in header.tensors if in_layer(tensor))
    with_amx, without = (
        weights_size(header, "bfloat16", families)
        for families in (("bf16-amx", "bf16-amx-q8"), ("bf16",))
    )
    assert with_amx <= header.file_size
    assert without - with_amx == pytest.approx((2 - 34 / 32) * layers)
