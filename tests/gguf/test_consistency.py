"""No GGUF file ends the process that loads it: it is refused in one line, or gives vectors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder, ModelError
from jlocal.gguf.consistency import check_consistency
from jlocal.gguf.header import read_header
from jlocal.llama.context import Context
from jlocal.llama.model import Model
from jlocal.models.profile import read_profile
from support.bert_files import bert_file
from support.checkpoints import build
from support.gguf_files import Editable, few_tokens

NAN = float("nan")
UINT32, INT32, FLOAT, STRING, ARRAY = 4, 5, 6, 8, 9

# Embeds with each file that is named on a line of standard input, one line of answer each.
LOADER = """
import sys
import numpy as np
from jlocal import Embedder
from jlocal.errors import JlocalError
for line in sys.stdin:
    try:
        with Embedder(line.rstrip("\\n"), threads=1) as model:
            vectors = model.encode(["a cat", "the dog"])
        assert np.isfinite(vectors).all()
        print("vectors", flush=True)
    except JlocalError as error:
        print(error, flush=True)
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Callable[[str], Path]:
    """Architecture -> a sound and very small file."""
    from jlocal_convert import convert

    folder = tmp_path_factory.mktemp("sound")
    files: dict[str, Path] = {}

    def file(architecture: str) -> Path:
        if architecture not in files:
            if architecture == "bert":
                files["bert"] = bert_file(folder / "bert.gguf")
            else:
                source = folder / architecture
                build(source, architecture, tasks=("retrieval",), hidden=64, heads=4, ffn=96)
                few_tokens(source, 1024)
                (files[architecture],) = convert(source, types=["F16"], output=folder)
        return files[architecture]

    return file


def answers(paths: list[Path], **environment: str) -> list[str]:
    """Load files one after the other in one process, which must live."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = done.stdout.splitlines()
    assert len(found) == len(paths)
    return found


@pytest.mark.slow
# That of BERT says which texts llama.cpp tokenises otherwise.
@pytest.mark.filterwarnings("ignore::jlocal.errors.TokenizerWarning")
@pytest.mark.parametrize("architecture", ["qwen3", "eurobert", "bert"])
def test_sound_files_pass(architecture: str, sound) -> None:
    with Embedder(sound(architecture)) as model:
        assert np.isfinite(model.encode("a cat")).all()


# What the header alone gives away, by architecture: what is wrong, and a word of the message.
WRONG_KEYS = [
    ("block_count", UINT32, 1000),
    ("block_count", UINT32, (1 << 31) - 1),
    ("block_count", UINT32, 1),
    ("block_count", UINT32, 0),
    ("embedding_length", UINT32, 32),
    ("embedding_length_out", UINT32, 1000),
    ("embedding_length_out", UINT32, 32),
    ("embedding_length_out", UINT32, 0),
    ("rope.dimension_count", UINT32, 0),
    ("rope.dimension_count", UINT32, 1),
    ("rope.dimension_count", UINT32, 63),
    ("rope.dimension_count", UINT32, 1 << 31),
    ("attention.layer_norm_rms_epsilon", FLOAT, -1.0),
    ("attention.layer_norm_rms_epsilon", FLOAT, NAN),
    ("attention.layer_norm_epsilon", FLOAT, NAN),
    ("attention.head_count", UINT32, 0),
    ("attention.head_count", UINT32, 3),
    ("attention.head_count", INT32, -4),
    ("attention.head_count_kv", UINT32, 3),
    ("attention.key_length", UINT32, 0),
    ("attention.key_length", UINT32, 1 << 30),
    ("attention.value_length", UINT32, 2),
    ("feed_forward_length", UINT32, 95),
    ("feed_forward_length", STRING, "96"),
    ("expert_count", UINT32, 1),
    ("expert_used_count", UINT32, 1),
    ("rope.freq_base", FLOAT, float("inf")),
    ("rope.freq_base", FLOAT, 0.0),
    ("rope.freq_base", FLOAT, -1.0),
    ("rope.freq_base", STRING, "x"),
    ("context_length", UINT32, 0),
]


@pytest.mark.parametrize("architecture", ["qwen3", "eurobert"])
@pytest.mark.parametrize(("key", "kind", "value"), WRONG_KEYS)
def test_metadata_that_contradict_the_tensors(
    architecture: str, key: str, kind: int, value: object, sound, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.gguf"
    Editable(sound(architecture)).set(f"{architecture}.{key}", kind, value).write(path)
    with pytest.raises(ModelError, match="usable") as caught:
        check_consistency(read_profile(path).header)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("architecture", ["qwen3", "eurobert", "bert"])
def test_tensors_that_contradict_the_metadata(architecture: str, sound, tmp_path: Path) -> None:
    base = Editable(sound(architecture))
    path = tmp_path / "wrong.gguf"
    embedding = "token_embd.weight"
    missing = base.copy()
    missing.tensors = [row for row in missing.tensors if row[0] != embedding]
    twice = base.copy()
    twice.tensors.append(twice.tensors[-1])
    fewer = base.keys["tokenizer.ggml.tokens"][1][:-1]
    for wrong in (
        missing,
        twice,
        base.shaped(embedding, shape=(64,)),
        base.shaped(embedding, shape=(64, 9)),
        base.shaped(embedding, shape=(0, 1024)),
        base.shaped(embedding, shape=(1 << 63, 1024)),
        base.shaped("blk.0.attn_output.weight", name="blk.7.attn_output.weight"),
        base.shaped("blk.0.attn_output.weight", name="blk.999999999.attn_output.weight"),
        base.set("tokenizer.ggml.tokens", (ARRAY, STRING), fewer),
        base.set("tokenizer.ggml.token_type", (ARRAY, INT32), [1] * 2000),
        base.set("tokenizer.ggml.model", STRING, "none"),
        base.set("tokenizer.ggml.model", STRING, "rwkv"),
        base.without("tokenizer.ggml.tokens"),
        base.set("tokenizer.ggml.add_bos_token", 7, True).set(
            "tokenizer.ggml.bos_token_id", UINT32, 1 << 31
        ),
    ):
        wrong.write(path)
        with pytest.raises(ModelError, match="not a usable GGUF file") as caught:
            check_consistency(read_profile(path).header)
        assert str(caught.value).isprintable()
    if architecture != "bert":
        base.shaped("blk.1.ffn_down.weight", shape=(96, 65)).write(path)
        with pytest.raises(ModelError, match="ffn_down"):
            check_consistency(read_profile(path).header)


@pytest.mark.parametrize("alignment", [0, 1, 2, 4, 12, 48, (1 << 32) - 1])
def test_an_alignment_that_is_none(alignment: int, sound, tmp_path: Path) -> None:
    path = tmp_path / "wrong.gguf"
    Editable(sound("qwen3")).set("general.alignment", UINT32, alignment).write(path)
    with pytest.raises(ModelError, match="alignment"):
        read_header(path)


@pytest.mark.parametrize(
    ("version", "word"),
    [(3 << 24, "big-endian"), (2 << 24, "big-endian"), (1, "versions 2 and 3"), (4, "newer")],
)
def test_other_versions_are_named(version: int, word: str, sound, tmp_path: Path) -> None:
    data = sound("qwen3").read_bytes()
    path = tmp_path / "other.gguf"
    path.write_bytes(data[:4] + version.to_bytes(4, "little") + data[8:])
    with pytest.raises(ModelError, match=word):
        read_header(path)


@pytest.mark.slow
def test_the_check_is_quick_for_the_largest_tables(tmp_path: Path, sound) -> None:
    import time

    base = Editable(sound("qwen3"))
    base.tensors += [[f"blk.{n % 512}.x{n}", (1,), 0, 0] for n in range(100_000)]
    path = base.set("qwen3.block_count", UINT32, 512).write(tmp_path / "many.gguf")
    header = read_header(path)
    start = time.perf_counter()
    with pytest.raises(ModelError):
        check_consistency(header)
    assert time.perf_counter() - start < 5


@pytest.mark.slow
def test_the_buffer_is_as_large_as_the_tensor(sound) -> None:
    """Whatever the header says: the buffer used to be smaller than what was written into it."""
    profile = read_profile(sound("qwen3"))
    model = Model(profile, threads=1, gpu_layers=0, compute_type="stored")
    model.dimensions = 1000
    context = Context(model, 1, capture=True, token_budget=512)
    tokens = np.arange(8, dtype=np.int32)
    with pytest.raises(ModelError, match="1,000"):
        context.embed([tokens], lambda: False)
    model.dimensions = profile.dimensions
    again = Context(model, 1, capture=True, token_budget=512)
    assert np.isfinite(again.embed([tokens], lambda: False)).all()
    context.close()
    again.close()


def killers(base: Editable) -> dict[str, Editable]:
    """Files on which llama.cpp ends its process, and that no look at the header gives away."""
    tokens = base.keys["tokenizer.ggml.tokens"][1]

    def spelled(position: int, token: str | bytes) -> Editable:
        changed = list(tokens)
        changed[position] = token
        return base.set("tokenizer.ggml.tokens", (ARRAY, STRING), changed)

    return {
        "a token twice": spelled(5, tokens[6]),
        "tokens with a NUL": spelled(5, b"a\0x").set(
            "tokenizer.ggml.tokens", (ARRAY, STRING), [b"a\0x", b"a\0y", *tokens[2:]]
        ),
        "an invalid token": spelled(5, b"\xff\xfe"),
        "a tokenizer without its bytes": base.set("tokenizer.ggml.model", STRING, "llama"),
        "a norm of another type": base.shaped("blk.0.attn_norm.weight", kind=26),
        "half of a rope": base.set("qwen3.rope.scaling.type", STRING, "nonsense"),
    }


@pytest.mark.slow
def test_what_would_kill_llama_cpp_is_refused_in_one_line(sound, tmp_path: Path) -> None:
    base = Editable(sound("qwen3"))
    files = {
        name: edit.write(tmp_path / f"{number}.gguf")
        for number, (name, edit) in enumerate(killers(base).items())
    }
    found = dict(zip(files, answers([*files.values()]), strict=True))
    died = [name for name, answer in found.items() if "crashes when it loads" in answer]
    assert "a token twice" in died, found
    assert "a tokenizer without its bytes" in died, found
    assert "GGML_ASSERT" in found["a token twice"]
    assert all(answer.isprintable() and len(answer) < 600 for answer in found.values())
    # The process that is killed by them without a trial would be this one.
    assert not [*tmp_path.glob("core*")]


@pytest.fixture
def children(tmp_path: Path, monkeypatch) -> Callable[[], list[str]]:
    """Return a function that lists the arguments of all children, which a script writes down."""
    log, script = tmp_path / "children.log", tmp_path / "python"
    log.touch()
    script.write_text(f"#!/bin/sh\necho \"$*\" >> '{log}'\nexec '{sys.executable}' \"$@\"\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return lambda: log.read_text().splitlines()


@pytest.mark.slow
def test_a_file_is_tried_once(sound, children, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("JLOCAL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.gguf"
    path.write_bytes(sound("qwen3").read_bytes())
    for _ in range(3):
        Embedder(path).close()
    (tried,) = children()
    assert str(path) in tried
    # Another content is another file, and so is the same content after another llama.cpp came.
    path.write_bytes(Editable(path).without("general.name").write(tmp_path / "x").read_bytes())
    Embedder(path).close()
    Embedder(path).close()
    assert len(children()) == 2
    other = tmp_path / "llama_cpp_python-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 0.0.1\n"
    )
    with monkeypatch.context() as installation:
        installation.syspath_prepend(str(tmp_path))
        Embedder(path).close()
        assert len(children()) == 3
    # An installation with the first llama.cpp need not try the file again.
    Embedder(path).close()
    assert len(children()) == 3


@pytest.mark.slow
def test_the_records_of_deleted_files_do_not_pile_up(sound, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("JLOCAL_CACHE", str(tmp_path))
    folder = tmp_path / "loaded"
    folder.mkdir()
    for number in range(1010):
        (folder / f"old{number}").touch()
        os.utime(folder / f"old{number}", (number, number))
    Embedder(sound("qwen3")).close()
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 500
    assert "old1009" in names
    assert "old510" not in names


def test_the_starter_needs_no_trial(children, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("JLOCAL_CACHE", str(tmp_path / "cache"))
    Embedder("starter").close()
    assert children() == []


@pytest.mark.slow
@pytest.mark.parametrize("record", ["garbage", "link", "fifo", "folder", "read-only", "long"])
def test_a_hostile_or_missing_record_costs_a_trial(
    record: str, sound, children, tmp_path: Path, monkeypatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("JLOCAL_CACHE", str(cache))
    path = sound("qwen3")
    Embedder(path).close()
    (file,) = (cache / "loaded").iterdir()
    identity = file.read_bytes()
    file.unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(identity)
    if record == "garbage":
        file.write_bytes(b"\xff" * 64)
    elif record == "long":
        file.write_bytes(identity + bytes(1 << 20))
    elif record == "link":
        file.symlink_to(secret)
    elif record == "fifo":
        os.mkfifo(file)
    elif record == "folder":
        file.mkdir()
    else:
        (cache / "loaded").rmdir()
        (cache / "loaded").write_bytes(b"")
    before = len(children())
    Embedder(path).close()
    assert len(children()) == before + 1
    assert secret.read_bytes() == identity
    Embedder(path).close()
    # Where the record can be replaced, it is.
    assert len(children()) - before == (2 if record in ("folder", "read-only") else 1)


def test_a_child_that_cannot_start_is_a_model_error(sound, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("JLOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match="No such file"):
        Embedder(sound("qwen3"))


@pytest.mark.slow
def test_every_way_to_load_a_model_tries_it(sound, tmp_path: Path) -> None:
    path = tmp_path / "killer.gguf"
    base = Editable(sound("qwen3"))
    tokens = base.keys["tokenizer.ggml.tokens"][1]
    base.set("tokenizer.ggml.tokens", (ARRAY, STRING), [*tokens[:-1], tokens[0]]).write(path)
    notes = tmp_path / "note.txt"
    notes.write_text("a cat\n" * 40)
    for command in (
        ["embed", "-c", "a", "-m", path],
        ["index", notes, "-d", tmp_path / "n.db", "-m", path],
        ["verify", path, "--against", sound("qwen3")],
        ["bench", path],
        ["quantize", path, "--to", "IQ4_NL", "-o", tmp_path / "small", "--calibrate", "default"],
        ["doctor", path],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (1, 2), (command, done)
        assert "GGML_ASSERT" in done.stderr + done.stdout, (command, done.stderr)
        assert "Traceback" not in done.stderr, command


@pytest.mark.slow
def test_the_loader_answers_for_a_sound_file(sound) -> None:
    assert answers([sound("qwen3"), sound("bert")]) == ["vectors", "vectors"]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["default", "tekken", None])
def test_a_long_word_does_not_overflow_the_stack(split: str | None, sound, tmp_path: Path) -> None:
    """llama.cpp splits text by most rules with std::regex, which recurses for each character."""
    base = Editable(sound("qwen3")).without("tokenizer.ggml.pre")
    path = tmp_path / "model.gguf"
    (base.set("tokenizer.ggml.pre", STRING, split) if split else base).write(path)
    script = (
        "import sys; from jlocal import Embedder; model = Embedder(sys.argv[1], threads=1);"
        "print([len(model.tokenize(run * 100_000)) > 5000 for run in 'a !1\u4e2d'],"
        "len(model.tokenize('a cat ' * 50_000)) > 50_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[True, True, True, True, True] True\n", (done.returncode, done.stderr)
