"""Whatever is wrong with the input: one line that says so, exit status 1, and no file."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from jlocal.cli import cli
from support.checkpoints import build, merged
from support.gguf_files import edit, edit_header, edit_tensors, few_tokens, replace, variant

WEIGHTS = "model.safetensors"
RETRIEVAL = Path("adapters/retrieval")
ADAPTER = RETRIEVAL / "adapter_config.json"
FACTORS = RETRIEVAL / "adapter_model.safetensors"
UP = "layers.1.mlp.up_proj"
UP_A = f"base_model.model.{UP}.lora_A.weight"


@pytest.fixture(scope="module")
def nano(nano_checkpoint, tmp_path_factory) -> Path:
    """Return a nano checkpoint, quick to convert."""
    return few_tokens(variant(nano_checkpoint, tmp_path_factory.mktemp("few") / "nano"))


@pytest.fixture(scope="module")
def small(small_checkpoint, tmp_path_factory) -> Path:
    """Return a small checkpoint, quick to convert."""
    return few_tokens(variant(small_checkpoint, tmp_path_factory.mktemp("few") / "qwen3"))


def refused(says: str, *arguments: object, output: Path, status: int = 1) -> None:
    """Run `jlocal convert` and check how it fails."""
    run = CliRunner().invoke(cli, ["convert", *map(str, arguments), "-o", str(output)])
    assert run.exit_code == status, run.output
    assert run.stdout == ""
    assert run.stderr.startswith("Error: ")
    assert run.stderr.count("\n") == 1
    assert says in run.stderr
    assert not output.is_dir() or not list(output.iterdir())


def config(**changes):
    return lambda folder: edit(folder / "config.json", **changes)


def adapter(**changes):
    return lambda folder: edit(folder / ADAPTER, **changes)


def tensors(change, path=WEIGHTS, dtype=None):
    return lambda folder: edit_tensors(folder / path, change, dtype)


def header(change, path=WEIGHTS):
    return lambda folder: edit_header(folder / path, change)


def tokenizer(change):
    def apply(folder: Path) -> None:
        path = folder / "tokenizer.json"
        values = json.loads(path.read_text())
        change(values)
        replace(path, json.dumps(values).encode())

    return apply


def content(path, change):
    return lambda folder: replace(folder / path, change((folder / path).read_bytes()))


def without(path):
    return lambda folder: (folder / path).unlink()


def entry(**changes):
    """Change what a header says of one tensor."""
    return header(lambda table: table["norm.weight"].update(changes))


def put(name, value, path=WEIGHTS, dtype="F32"):
    """Put a value into a tensor."""
    return tensors(lambda table: table[name].reshape(-1).__setitem__(5, value), path, dtype)


def renamed(old, new, path=FACTORS):
    def rename(table) -> None:
        for key in [key for key in table if old in key]:
            table[key.replace(old, new)] = table.pop(key)

    return tensors(rename, path)


def shard(target):
    def write(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
        index = {"weight_map": {"norm.weight": target}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return write


def length(count):
    return content(WEIGHTS, lambda data: count.to_bytes(8, "little") + data[8:])


def grown(*shape):
    return np.ones(shape, dtype=np.float32)


BAD = {
    # the folder
    "no configuration": (without("config.json"), "no config.json"),
    "no weights": (without(WEIGHTS), "neither model.safetensors nor"),
    "no tokenizer": (without("tokenizer.json"), "no tokenizer.json"),
    "configuration: not JSON": (content("config.json", lambda data: data[:50]), "not valid JSON"),
    "configuration: a list": (content("config.json", lambda _: b"[1]"), "no JSON object"),
    "configuration: deep": (content("config.json", lambda _: b"[" * 99_999), "not valid JSON"),
    "configuration: not text": (content("config.json", lambda _: b'{"\xff": 1}'), "not valid JSON"),
    "configuration: twice": (content("config.json", lambda _: b'{"a":1,"a":2}'), "occurs twice"),
    "model card": (content("README.md", lambda _: b"---\nlicense: [a\n---\n"), "valid YAML"),
    "prompts": (
        lambda folder: edit(folder / "config_sentence_transformers.json", prompts={"query": 3}),
        "names and texts",
    ),
    "default prompt": (
        lambda folder: edit(folder / "config_sentence_transformers.json", default_prompt_name="x"),
        "one of query, document",
    ),
    "special tokens": (content("tokenizer_config.json", lambda _: b"7"), "tokenizer_config.json"),
    # the configuration
    "hidden size: text": (config(hidden_size="64"), "an integer from 1"),
    "hidden size: negative": (config(hidden_size=-64), "an integer from 1"),
    "hidden size: true": (config(hidden_size=True), "an integer from 1"),
    "layers: absurd": (config(num_hidden_layers=10**9), "an integer from 1"),
    "layers: too many": (config(num_hidden_layers=3), "no tensor 'layers.2."),
    "layers: too few": (config(num_hidden_layers=1), "does not use"),
    "epsilon": (config(rms_norm_eps=float("nan")), "a number above 0"),
    "key-value heads": (config(num_key_value_heads=3), "a divisor of"),
    "bias": (config(attention_bias=True), "attention_bias"),
    "activation": (config(hidden_act="gelu"), "hidden_act"),
    "sliding window": (config(use_sliding_window=True), "use_sliding_window"),
    "bidirectional": (config(is_causal=False), "is_causal"),
    "no rope theta": (config(rope_theta=None), "no rope_theta"),
    "two rope thetas": (config(rope_parameters={"rope_theta": 5}), "2 rope_theta"),
    "rope scaling": (config(rope_scaling={"type": "yarn", "factor": 4}), "of type 'default'"),
    "partial rope": (config(rope_parameters={"partial_rotary_factor": 0.5}), "partial_rotary"),
    "vocabulary": (config(vocab_size=2000), "embed_tokens.weight"),
    "matryoshka": (config(matryoshka_dims=[32, 10_000]), "a list of sizes"),
    "another network": (
        renamed("q_norm", "query_norm", WEIGHTS),
        "neither Qwen3 (q_norm weights) nor EuroBERT",
    ),
    # the weights
    "header: cut off": (content(WEIGHTS, lambda data: data[:100]), "a header of"),
    "header: empty file": (content(WEIGHTS, lambda _: b""), "a header of"),
    "header: huge": (length(2**63), "a header of"),
    "header: not JSON": (content(WEIGHTS, lambda d: d[:8] + b"\0" * 9 + d[17:]), "not valid JSON"),
    "header: no entry": (header(lambda table: table.update(x=7)), "no description of 'x'"),
    "tensor: cut off": (content(WEIGHTS, lambda data: data[:-10]), "beyond the end"),
    "tensor: followed by more": (content(WEIGHTS, lambda data: data + b"more"), "4 bytes after"),
    "tensor: absurd offsets": (entry(data_offsets=[2**47, 2**47 + 128]), "beyond the end"),
    "tensor: negative offsets": (entry(data_offsets=[-128, 0]), "no usable shape or offsets"),
    "tensor: offsets as text": (entry(data_offsets=["0", "128"]), "no usable shape or offsets"),
    "tensor: overlapping": (entry(data_offsets=[0, 128]), "overlaps another"),
    "tensor: another shape": (entry(shape=[8, 8, 2]), "does not take the bytes"),
    "tensor: absurd shape": (entry(shape=[2**40, 2**40]), "does not take the bytes"),
    "tensor: of integers": (entry(dtype="I64", shape=[16]), "has the type 'I64'"),
    "tensor: missing": (tensors(lambda table: table.pop("norm.weight")), "no tensor 'norm.weight'"),
    "tensor: left over": (
        tensors(lambda table: table.update({"layers.0.self_attn.q_proj.bias": grown(128)})),
        "'layers.0.self_attn.q_proj.bias', which qwen3 does not use",
    ),
    "tensor: twice": (
        tensors(lambda table: table.update({"model.norm.weight": table["norm.weight"]})),
        "'norm.weight' twice",
    ),
    "tensor: of another size": (
        tensors(lambda table: table.update({"norm.weight": grown(63)})),
        "has shape (63,)",
    ),
    "values: NaN": (put("norm.weight", np.nan), "'norm.weight' has values from nan"),
    "values: infinite": (put(f"{UP}.weight", -np.inf), f"'{UP}.weight' has values from -inf"),
    "values: too large for F16": (put("embed_tokens.weight", 7e4), "up to 65504"),
    "shard: outside": (shard("../outside.safetensors"), "which is not a file name"),
    "shard: absolute": (shard("/etc/passwd"), "which is not a file name"),
    "shard: hidden": (shard(".x.safetensors"), "which is not a file name"),
    "shard: missing": (shard("model-2.safetensors"), "no model-2.safetensors"),
    "shard: no name": (shard(7), "which is not a file name"),
    # the tokenizer
    "tokenizer: not JSON": (content("tokenizer.json", lambda data: data[:500]), "not valid JSON"),
    "tokenizer: something else": (content("tokenizer.json", lambda _: b"{}"), "not a tokenizer"),
    "tokenizer: pre-tokenizer": (
        tokenizer(
            lambda t: t["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex=r"\w+")
        ),
        "pre-tokenizer is unknown",
    ),
    "tokenizer: normalizer": (tokenizer(lambda t: t["normalizer"].update(type="NFKC")), "'NFKC'"),
    "tokenizer: model": (tokenizer(lambda t: t["model"].update(type="Unigram")), "'Unigram'"),
    "tokenizer: bytes": (
        tokenizer(lambda t: t["model"].update(byte_fallback=True)),
        "byte_fallback",
    ),
    "tokenizer: merges": (tokenizer(lambda t: t["model"]["merges"].append([1, 2])), "expected str"),
    "tokenizer: a merge of three": (
        tokenizer(lambda t: t["model"]["merges"].append(["a", "b", "c"])),
        "'a b c'",
    ),
    "tokenizer: ids": (tokenizer(lambda t: t["model"]["vocab"].update(new=10**9)), "outside"),
    "tokenizer: same id": (tokenizer(lambda t: t["model"]["vocab"].update(new=5)), "two tokens"),
    "tokenizer: rstrip": (tokenizer(lambda t: t["added_tokens"][0].update(rstrip=True)), "rstrip"),
    "tokenizer: begins with a token": (
        tokenizer(
            lambda t: t.update(
                post_processor={
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}],
                    "special_tokens": {"x": {"ids": [7]}},
                }
            )
        ),
        "[7] before",
    ),
    # the adapter
    "adapter: missing": (
        lambda folder: [without(ADAPTER)(folder), without(FACTORS)(folder)],
        "no adapter for 'retrieval'; there are text-matching, clustering, classification",
    ),
    "adapter: no weights": (without(FACTORS), "no adapter_model.safetensors"),
    "adapter: another kind": (adapter(peft_type="LOHA"), "peft_type"),
    "adapter: DoRA": (adapter(use_dora=True), "use_dora"),
    "adapter: bias": (adapter(bias="all"), "bias"),
    "adapter: LoRA bias": (adapter(lora_bias=True), "lora_bias"),
    "adapter: whole modules": (adapter(modules_to_save=["norm"]), "modules_to_save"),
    "adapter: tokens": (adapter(trainable_token_indices=[1]), "trainable_token_indices"),
    "adapter: replication": (adapter(layer_replication=[[0, 1]]), "layer_replication"),
    "adapter: other layers": (
        adapter(layers_to_transform=[0], layers_pattern="layers"),
        "layers_to_transform exclude",
    ),
    "adapter: layers of another model": (adapter(layers_to_transform=[0]), "to_transform exclude"),
    "adapter: layers that are no numbers": (adapter(layers_to_transform=[True]), "layer's number"),
    "adapter: layers without numbers": (adapter(layers_pattern="layers"), "layers_pattern is"),
    "adapter: layers and a pattern": (
        adapter(layers_to_transform=0, target_modules=".*proj"),
        "as target_modules is a pattern",
    ),
    "adapter: endless layers": (
        adapter(layers_to_transform=0, layers_pattern=[r"(\w+)+(\w+)+(\w+)+!"]),
        "too complex",
    ),
    "adapter: excluded, and there": (adapter(exclude_modules=["q_proj"]), "its exclude_modules"),
    "adapter: endless exclusion": (adapter(exclude_modules=r"(\w+)+(\w+)+(\w+)+!"), "too complex"),
    "adapter: exclusion of a wrong type": (adapter(exclude_modules={"a": 1}), "exclude_modules is"),
    "adapter: parameters": (adapter(target_parameters=["x"]), "target_parameters"),
    "adapter: PiSSA": (adapter(init_lora_weights="pissa"), "init_lora_weights"),
    "adapter: of the future": (adapter(use_qubits=True), "use_qubits"),
    "adapter: rank": (adapter(r=16), "but its configuration says rank 16"),
    "adapter: rank zero": (adapter(r=0), "an integer from 1"),
    "adapter: alpha": (adapter(lora_alpha="much"), "a number"),
    "adapter: endless pattern": (
        adapter(rank_pattern={r"(\w+)+(\w+)+(\w+)+!": 4}),
        "too complex",
    ),
    "adapter: broken pattern": (adapter(alpha_pattern={"(": 4}), "cannot be used"),
    "adapter: unknown target": (adapter(target_modules=["q_proj", "embed_tokens"]), "embed_tokens"),
    "adapter: no targets": (adapter(target_modules=7), "a list of module names"),
    "adapter: fewer targets": (adapter(target_modules=["q_proj"]), "do not name"),
    "adapter: lost factors": (
        tensors(lambda t: [t.pop(key) for key in list(t) if UP in key], FACTORS),
        f"no weights for {UP}",
    ),
    "adapter: lost one factor": (
        tensors(lambda t: t.pop(UP_A), FACTORS),
        "lacks lora_A or lora_B",
    ),
    "adapter: magnitudes": (
        tensors(lambda t: t.update({f"base_model.model.{UP}.lora_magnitude_vector": grown(9)}),
        FACTORS),
        "lora_magnitude_vector",
    ),
    "adapter: embeddings": (
        renamed(f"{UP}.lora_A.weight", "embed_tokens.lora_embedding_A"),
        "lora_embedding_A",
    ),
    "adapter: more layers": (
        renamed("layers.1.", "layers.7."),
        "an adapter of another backbone",
    ),
    "adapter: wider": (
        tensors(lambda t: t.update({UP_A: grown(8, 80)}), FACTORS),
        "an adapter of another backbone",
    ),
    "adapter: a vector": (
        tensors(lambda t: t.update({UP_A: grown(8)}), FACTORS),
        "not a matrix",
    ),
    "adapter: NaN": (
        put(f"base_model.model.{UP}.lora_B.weight", np.nan, FACTORS),
        f"'{UP}.weight' has values from nan",
    ),
    "adapter: corrupt": (content(FACTORS, lambda data: data[:-1]), "beyond the end"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_checkpoints(name, small, tmp_path) -> None:
    change, says = BAD[name]
    folder = variant(small, tmp_path / "base")
    change(folder)
    refused(says, folder, output=tmp_path / "out")


def test_an_adapter_of_the_other_model(small, nano, tmp_path) -> None:
    folder = variant(nano, tmp_path / "nano")
    for path in (ADAPTER, FACTORS):
        replace(folder / path, (small / path).read_bytes())
    refused("an adapter of another backbone", folder, output=tmp_path / "out")


def test_nano_with_another_template(nano, tmp_path) -> None:
    folder = variant(nano, tmp_path / "nano")
    tokenizer(lambda values: values.update(post_processor=None))(folder)
    refused("after a text", folder, output=tmp_path / "out")


def test_nano_with_odd_heads(tmp_path) -> None:
    folder = build(tmp_path / "nano", "eurobert", tasks=("retrieval",), hidden=64, heads=4)
    edit(folder / "config.json", head_dim=32)
    refused("shape", folder, output=tmp_path / "out")


ARGUMENTS = {
    "unknown task": (
        ["--task", "singing"],
        "there is no task 'singing'; there are retrieval, text-",
    ),
    "a task that leads elsewhere": (["--task", "../../x"], "there is no task"),
    "unknown type": (["--to", "Q9_9"], "there is no type 'Q9_9'; choose from F32, F16, Q4_0"),
    "type without matrix": (
        ["--to", "iq1_s"],
        "IQ1_S needs an importance matrix: name calibration texts",
    ),
    "a revision of a folder": (["--revision", "v2"], "only a repository has revisions"),
    "a name with a folder": (["--name", "../x"], "cannot begin a file name"),
    "a hidden name": (["--name", ".x"], "cannot begin a file name"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_bad_arguments(name, small, tmp_path) -> None:
    arguments, says = ARGUMENTS[name]
    refused(says, small, *arguments, output=tmp_path / "out")


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
}
READ = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "README.md", WEIGHTS),
    *("config_sentence_transformers.json", "chat_template.jinja", ADAPTER, FACTORS),
)


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_refused_at_once(kind, small, tmp_path) -> None:
    for number, name in enumerate(READ):
        folder = variant(small, tmp_path / f"{number}")
        (folder / name).unlink(missing_ok=True)
        IRREGULAR[kind](folder / name)
        run = CliRunner().invoke(cli, ["convert", str(folder), "-o", str(tmp_path / "out")])
        if kind == "a link to itself" and run.exit_code == 0:
            # What may be missing counts as missing.
            assert name in READ[2:6] or name == "chat_template.jinja"
            shutil.rmtree(tmp_path / "out")
            continue
        assert run.exit_code == 1, name
        assert run.stderr.startswith("Error: "), name
        assert run.stderr.count("\n") == 1, name
        assert not (tmp_path / "out").is_dir() or not list((tmp_path / "out").iterdir())


def test_a_merged_checkpoint_has_one_task(small, tmp_path) -> None:
    folder = merged(small, "retrieval", tmp_path / "small-retrieval")
    out = tmp_path / "out"
    refused("by its name, it is merged with retrieval", folder, "--task", "clustering", output=out)
    refused("holds one task", folder, "--task", "all", output=out)
    refused("there is no task", folder, "--task", "singing", output=out)


def test_places_that_are_not_folders(small, tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    refused("is a file; name a folder", small, output=file)
    refused("is a file; name a folder", small, output=file / "below")
    refused("is a file; give the folder", file, output=tmp_path / "out")
    refused("no such folder", tmp_path / "nowhere", output=tmp_path / "out")
    assert file.read_text() == "mine"


def test_existing_files_stay(small, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    file = out / f"{small.name}-retrieval-Q8_0.gguf"
    file.write_text("mine")
    arguments = ["convert", str(small), "--to", "F16", "--to", "Q8_0", "-o", str(out)]
    run = CliRunner().invoke(cli, arguments)
    assert run.exit_code == 1
    assert "exists; pass --force to replace it" in run.stderr
    assert list(out.iterdir()) == [file]
    assert file.read_text() == "mine"
    run = CliRunner().invoke(cli, [*arguments, "--force", "-q"])
    assert run.exit_code == 0
    assert run.stdout.splitlines() == [str(file).replace("Q8_0", "F16"), str(file)]
    assert run.stderr == ""
    assert file.read_bytes()[:4] == b"GGUF"


def test_values_that_only_bf16_holds(small, tmp_path) -> None:
    folder = variant(small, tmp_path / "base")
    put("embed_tokens.weight", 7e4)(folder)
    for kind in ("F32", "BF16"):
        arguments = ["convert", str(folder), "--to", kind, "-o", str(tmp_path / kind)]
        assert CliRunner().invoke(cli, arguments).exit_code == 0
    for kind in ("Q8_0", "Q4_K_M"):
        refused("up to 65504", folder, "--to", kind, output=tmp_path / kind)
