"""What `convert` writes: weights against PEFT, metadata against the checkpoint."""

import fcntl
import hashlib
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from functools import cache
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from jlocal import Embedder
from jlocal.gguf.types import FILE_TYPES
from jlocal.llama.quantize import NEEDS_IMPORTANCE_MATRIX
from jlocal_convert import Progress, convert
from support.checkpoints import TASKS, adapter_config, build, merged, shape_of, write_adapter
from support.gguf_files import (
    KINDS,
    edit,
    edit_tensors,
    few_tokens,
    tensor_bytes,
    values,
    variant,
    weights,
)
from support.reference import Reference
from support.safetensors import encode, read_weights

pytestmark = pytest.mark.slow

PATTERNS = {
    "rank_pattern": {"q_proj": 4, "layers.1.mlp.up_proj": 2, r".*\.down_proj": 6},
    "alpha_pattern": {"k_proj": 16, "^layers.0.self_attn.v_proj": 3},
}
ADAPTERS = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True, "lora_alpha": 12},
    "patterns": {"lora_alpha": 20, **PATTERNS},
    "patterns, rank-stabilised": {"use_rslora": True, **PATTERNS},
    "fan_in_fan_out": {"fan_in_fan_out": True},
    "some modules": {"target_modules": ["q_proj", "down_proj"]},
}
SAVED = {
    "names": {"target_modules": ["self_attn.v_proj", "layers.1.mlp.up_proj"]},
    "a pattern": {"target_modules": r".*\.(0|1)\.self_attn\.[qo]_proj", "use_rslora": True},
    "all": {"target_modules": "all-linear", "rank_pattern": {"mlp.down_proj": 3}},
    "all but some": {
        "target_modules": "all-linear",
        "exclude_modules": ["up_proj", "0.mlp.down_proj"],
    },
    "all but a pattern": {
        "target_modules": ["q_proj", "mlp.up_proj", "embed_tokens"],
        "exclude_modules": r"embed_tokens|layers\.(0|2)\..*_proj",
    },
    "a layer": {"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": "layers"},
    "layers": {
        "target_modules": ["q_proj", "layers.0.mlp.up_proj", "gate_proj"],
        "layers_to_transform": [1, 7],
        "layers_pattern": ["blocks", "layers?", "h"],
        "exclude_modules": ["gate_proj"],
        "rank_pattern": {"layers.1.self_attn.q_proj": 2},
        "alpha_pattern": {"q_proj": 3},
    },
    "no layers": {"target_modules": ["q_proj"], "layers_to_transform": []},
    "another start": {"target_modules": ["q_proj"], "init_lora_weights": "gaussian"},
}


def one(checkpoint: Path, output: Path, kind: str = "F32", **arguments) -> Path:
    (path,) = convert(checkpoint, types=(kind,), output=output, **arguments)
    return path


@pytest.fixture(scope="module")
def plain(converted):
    """(backbone, type) -> file of the retrieval task; all types were made in one run."""
    return {
        (backbone, kind): converted(backbone, "retrieval", kind, whole=True)
        for backbone in ("qwen3", "eurobert")
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def quick(checkpoint, tmp_path_factory):
    """Backbone -> a base checkpoint that takes no time to convert; not to be changed."""

    @cache
    def folder(backbone: str) -> Path:
        target = tmp_path_factory.mktemp("quick") / backbone
        return few_tokens(variant(checkpoint(backbone), target))

    return folder


@pytest.fixture
def without_adapter(quick, checkpoint, tmp_path):
    """Backbone -> a copy of a checkpoint, and the place of its retrieval adapter, now empty."""

    def copy(backbone: str) -> tuple[Path, Path]:
        # The class of EuroBERT in transformers needs the padding token, which is a late one.
        base = quick(backbone) if backbone == "qwen3" else checkpoint(backbone)
        folder = variant(base, tmp_path / "base")
        shutil.rmtree(folder / "adapters")
        return folder, folder / "adapters" / "retrieval"

    return copy


def peft_weights(folder: Path) -> dict[str, np.ndarray]:
    """Return the weights of the retrieval task as PEFT merges them, in float32."""
    model = Reference(folder, "retrieval").model.merge_and_unload()
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


# PEFT says that it ignores fan_in_fan_out for these modules, as it is to.
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to True:UserWarning:peft")
@pytest.mark.parametrize(
    ("backbone", "adapter"), [*(("qwen3", name) for name in ADAPTERS), ("eurobert", "patterns")]
)
def test_merging_equals_peft(tmp_path, without_adapter, backbone, adapter) -> None:
    folder, target = without_adapter(backbone)
    write_adapter(target, shape_of(backbone), adapter_config(8) | ADAPTERS[adapter], seed=1)
    ours = weights(one(folder, tmp_path / "out"))
    theirs = peft_weights(folder)
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        np.testing.assert_allclose(ours[name], weight, rtol=1e-5, atol=1e-6, err_msg=name)


# PEFT says that it saves the embeddings, as it is to.
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning:peft")
@pytest.mark.parametrize(
    ("backbone", "adapter"), [*(("qwen3", name) for name in SAVED), ("eurobert", "all")]
)
def test_merging_what_peft_saved(tmp_path, without_adapter, backbone, adapter) -> None:
    folder, target = without_adapter(backbone)
    options = {"r": 4, "lora_alpha": 10, "init_lora_weights": False} | SAVED[adapter]
    model = get_peft_model(Reference(folder).model, LoraConfig(**options))
    model.save_pretrained(str(target))
    ours = weights(one(folder, tmp_path / "out"))
    merged_model = model.merge_and_unload()
    for name, tensor in merged_model.state_dict().items():
        np.testing.assert_allclose(
            ours[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=name
        )


class Wrapped(torch.nn.Module):
    """A backbone one level down, as models with a head have it."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj"], "layers_to_transform": [1]},
        {"target_modules": r"model\.layers\.\d\.mlp\.(up|down)_proj"},
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": r"model\.layers\.0\..*"},
        {"target_modules": ["o_proj"], "exclude_modules": ["model.layers.1.self_attn.o_proj"]},
    ],
    ids=str,
)
def test_selectors_see_the_names_that_peft_saw(tmp_path, without_adapter, options) -> None:
    folder, target = without_adapter("qwen3")
    wrapped = Wrapped(Reference(folder).model)
    model = get_peft_model(wrapped, LoraConfig(r=4, init_lora_weights=False, **options))
    model.save_pretrained(str(target))
    ours = weights(one(folder, tmp_path / "out"))
    for name, tensor in model.merge_and_unload().model.state_dict().items():
        np.testing.assert_allclose(
            ours[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_an_adapter_shows(plain, small_checkpoint) -> None:
    base, ours = read_weights(small_checkpoint), weights(plain["qwen3", "F32"])
    changed = {name for name in base if not np.array_equal(base[name], ours[name])}
    assert changed == {name for name in base if "_proj" in name}


@pytest.mark.parametrize(
    "layout",
    [
        {"dtype": "F32"},
        {"dtype": "F16"},
        {"shards": 3},
        {"prefix": "model."},
        {"prefix": "model.", "shards": 2, "adapter_name": "retrieval", "dtype": "F32"},
        {"rope_parameters": True},
    ],
    ids=str,
)
def test_layouts(tmp_path, layout) -> None:
    backbone = "eurobert" if "rope_parameters" in layout else "qwen3"
    folder = few_tokens(build(tmp_path / "base", backbone, tasks=("retrieval",), **layout))
    ours = one(folder, tmp_path / "out", name="base")
    theirs = read_weights(merged(folder, "retrieval", tmp_path / "merged", dtype="F32"))
    theirs = {name.removeprefix("model."): weight for name, weight in theirs.items()}
    for name, weight in weights(ours).items():
        np.testing.assert_allclose(weight, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    theta = {"qwen3": 3_500_000, "eurobert": 1_000_000}[backbone]
    assert values(ours)[f"{backbone}.rope.freq_base"] == theta


def test_names_in_the_adapter_do_not_matter(tmp_path) -> None:
    names = {"adapter_name": "retrieval", "prefix": "model."}
    plain = build(tmp_path / "plain", "qwen3", tasks=("retrieval",))
    named = build(tmp_path / "named", "qwen3", tasks=("retrieval",), **names)
    files = [one(few_tokens(folder), tmp_path / "out") for folder in (plain, named)]
    assert tensor_bytes(files[0]) == tensor_bytes(files[1])


def test_an_unused_head_is_left_out(tmp_path, small_checkpoint, plain) -> None:
    folder = variant(small_checkpoint, tmp_path / "base")

    def add_head(tensors) -> None:
        tensors["lm_head.weight"] = np.ones((8, 64), dtype=np.float32)

    edit_tensors(folder / "model.safetensors", add_head)
    file = one(folder, tmp_path / "out", "F16")
    assert tensor_bytes(file) == tensor_bytes(plain["qwen3", "F16"])


def test_types_of_one_run_equal_separate_runs(tmp_path, small_checkpoint, plain) -> None:
    for kind in KINDS:
        alone = one(small_checkpoint, tmp_path / kind, kind)
        assert alone.read_bytes() == plain["qwen3", kind].read_bytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_same_input_same_bytes(tmp_path, small_checkpoint, plain, threads) -> None:
    file = one(small_checkpoint, tmp_path, "Q8_0", threads=threads)
    assert file.read_bytes() == plain["qwen3", "Q8_0"].read_bytes()


def test_encodings_equal_the_merged_f32(plain) -> None:
    exact = weights(plain["qwen3", "F32"])
    for name, weight in weights(plain["qwen3", "BF16"]).items():
        bits = encode(exact[name], "BF16") if weight.ndim > 1 else exact[name].tobytes()
        assert (weight.view(np.uint32) >> 16).astype("<u2").tobytes() == bits or weight.ndim == 1


def test_every_type_loads(tmp_path) -> None:
    shape = {"hidden": 256, "layers": 1, "heads": 2, "ffn": 256}
    folder = few_tokens(build(tmp_path / "base", "qwen3", tasks=("retrieval",), **shape))
    kinds = [kind for kind in FILE_TYPES if kind not in NEEDS_IMPORTANCE_MATRIX]
    steps: list[Progress] = []
    files = convert(folder, types=kinds, output=tmp_path / "out", progress=steps.append)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"base-retrieval-{kind}.gguf" for kind in kinds
    )
    vectors = {}
    for kind, file in zip(kinds, files, strict=True):
        assert values(file)["general.file_type"] == FILE_TYPES[kind]
        assert values(file)["jlocal.source_sha256"] == values(files[0])["jlocal.source_sha256"]
        # Stored: the type itself computes. llama-cpp-python's own class takes the AMX kernels.
        with Embedder(file, compute_type="stored") as model:
            vectors[kind] = model.encode("one text", prompt="Query: ")
    for kind, vector in vectors.items():
        floor = 0.8 if kind.startswith(("Q2", "Q3", "IQ3")) else 0.98
        assert float(vector @ vectors["F32"]) > floor, kind
    assert {step.file.rsplit("-", 1)[1] for step in steps} >= {"Q4_K_M.gguf", "IQ4_XS.gguf"}
    assert all(0 < step.done <= step.total for step in steps)


def embed(file: Path, text: str) -> np.ndarray:
    model = llama_cpp.Llama(str(file), embedding=True, verbose=False, n_ctx=512)
    vector = np.array(model.embed(text, normalize=True), dtype=np.float32)
    model.close()
    return vector


@pytest.mark.parametrize("backbone", ["qwen3", "eurobert"])
def test_a_file_is_all_that_llama_cpp_needs(backbone, plain, reference) -> None:
    text = "Query: Which planet is known as the Red Planet?"
    (expected,) = reference(backbone, "retrieval", whole=True).encode([text], "")
    assert float(embed(plain[backbone, "F32"], text) @ expected) > 0.9999


def test_all_tasks(tmp_path, quick) -> None:
    files = convert(quick("eurobert"), tasks=("all",), types=("q8_0", "f16"), output=tmp_path)
    assert [file.name for file in files] == [
        f"eurobert-{task}-{kind}.gguf" for task in TASKS for kind in ("Q8_0", "F16")
    ]
    assert [values(file)["jlocal.task"] for file in files[::2]] == list(TASKS)
    assert len({tensor_bytes(file)["blk.0.attn_q.weight"][2] for file in files}) == len(files)


def test_merged_checkpoints_say_their_task(tmp_path, small_checkpoint) -> None:
    folder = tmp_path / "v5-small-clustering"
    few_tokens(merged(small_checkpoint, "clustering", folder))
    file = one(folder, tmp_path / "out", "F16")
    assert file.name == "v5-small-clustering-F16.gguf"
    assert values(file)["jlocal.task"] == "clustering"
    file = one(folder.rename(tmp_path / "mine"), tmp_path / "out", "F16")
    assert file.name == "mine-F16.gguf"
    assert "jlocal.task" not in values(file)
    file = one(tmp_path / "mine", tmp_path / "out", "F16", tasks=("clustering",))
    assert file.name == "mine-clustering-F16.gguf"


def test_what_only_jlocal_writes(plain) -> None:
    small, nano = values(plain["qwen3", "F16"]), values(plain["eurobert", "F16"])
    ours = {key: value for key, value in small.items() if key.startswith("jlocal.")}
    assert ours == {
        "jlocal.task": "retrieval",
        "jlocal.prompt.query": "Query: ",
        "jlocal.prompt.document": "Document: ",
        "jlocal.default_prompt": "document",
        "jlocal.matryoshka_dimensions": [32, 64],
        "jlocal.unicode_normalizer": "NFC",
        "jlocal.source_sha256": small["jlocal.source_sha256"],
    }
    assert nano["jlocal.unicode_normalizer"] == "none"
    assert nano["jlocal.lstrip_tokens"] == ["<|mask|>"]
    for header, architecture in ((small, "qwen3"), (nano, "eurobert")):
        assert header[f"{architecture}.pooling_type"] == 3
        assert header["general.license"] == "cc-by-nc-4.0"
        assert header["tokenizer.ggml.add_bos_token"] is False
        assert header["tokenizer.ggml.add_eos_token"] is (architecture == "eurobert")


def test_the_source_digest(plain, small_checkpoint) -> None:
    names = [
        "adapters/retrieval/adapter_config.json",
        "adapters/retrieval/adapter_model.safetensors",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    lines = (
        f"{hashlib.sha256((small_checkpoint / name).read_bytes()).hexdigest()}  {name}\n"
        for name in names
    )
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert values(plain["qwen3", "F16"])["jlocal.source_sha256"] == expected


def test_prompts_and_dimensions_of_the_checkpoint(tmp_path, quick) -> None:
    folder = variant(quick("qwen3"), tmp_path / "base")
    edit(
        folder / "config_sentence_transformers.json",
        prompts={"search": "find: ", "plain": ""},
        default_prompt_name="plain",
    )
    edit(folder / "config.json", matryoshka_dims=[64, 8])
    header = values(one(folder, tmp_path / "out", "F16"))
    assert {key: header[key] for key in header if "prompt" in key} == {
        "jlocal.prompt.search": "find: ",
        "jlocal.prompt.plain": "",
        "jlocal.default_prompt": "plain",
    }
    assert header["jlocal.matryoshka_dimensions"] == [8, 64]
    (folder / "config_sentence_transformers.json").unlink()
    header = values(one(folder, tmp_path / "published", "F16"))
    assert header["jlocal.prompt.query"] == "Query: "
    assert header["jlocal.default_prompt"] == "document"


def test_without_a_model_card_no_licence_is_invented(tmp_path, quick) -> None:
    folder = variant(quick("qwen3"), tmp_path / "jina-embeddings-v5-text-small")
    (folder / "README.md").unlink()
    header = values(one(folder, tmp_path / "out", "F16"))
    assert header["general.name"] == "Jina Embeddings v5 Text Small Retrieval"
    assert "general.license" not in header
    assert "general.languages" not in header


def test_a_name_of_ones_own(tmp_path, quick) -> None:
    file = one(quick("qwen3"), tmp_path, "F16", name="my-model")
    assert file.name == "my-model-retrieval-F16.gguf"
    assert values(file)["general.name"] == "My Model Retrieval"


def test_a_snapshot_of_the_hubs_cache_has_its_repositorys_name(tmp_path, quick) -> None:
    folder = tmp_path / "models--jinaai--jina-embeddings-v5-text-small" / "snapshots" / "0123abcd"
    folder.parent.mkdir(parents=True)
    file = one(variant(quick("qwen3"), folder), tmp_path / "out", "F16")
    assert file.name == "jina-embeddings-v5-text-small-retrieval-F16.gguf"


def test_rows_that_fill_no_block_become_f16(tmp_path) -> None:
    folder = build(tmp_path / "base", "qwen3", tasks=("retrieval",), hidden=48, ffn=64)
    types = {
        name: kind for name, (kind, _, _) in tensor_bytes(one(folder, tmp_path, "Q8_0")).items()
    }
    assert types["blk.0.attn_q.weight"] == "F16"
    assert types["blk.0.ffn_down.weight"] == "Q8_0"
    assert types["blk.0.attn_norm.weight"] == "F32"


def test_import_is_without_llama_cpp_torch_and_transformers() -> None:
    code = "import jlocal_convert, json, sys; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    assert not {"llama_cpp", "torch", "transformers", "safetensors", "peft"}.intersection(modules)


def test_progress_is_shown_on_a_terminal_only(quick, tmp_path) -> None:
    command = [sys.executable, "-m", "jlocal", "convert", str(quick("qwen3")), "--force"]
    command += ["-o", str(tmp_path)]
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, check=True).stdout
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert out.decode() == f"{tmp_path / 'qwen3-retrieval-F16.gguf'}\n"
    assert "qwen3-retrieval-F16.gguf: " in shown
    assert "weights/s]" in shown
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b"Licence of these weights: cc-by-nc-4.0\n"
