"""The command line as a person meets it: real processes, exact streams, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from jlocal import Embedder
from jlocal.cli import cli
from jlocal.outputs.writers import FORMATS
from jlocal.vectors import PRECISIONS
from support.gguf_files import patch

ALL = (
    *("index", "search", "update", "watch", "status", "map", "forget", "collections", "export"),
    *("embed", "similar", "pull"),
    *("list", "show", "rm", "convert", "quantize", "bundle", "verify", "doctor", "bench"),
)


@pytest.fixture(scope="module")
def model(converted) -> Path:
    return converted("qwen3")


@pytest.fixture
def jlocal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


@pytest.mark.parametrize("command", ALL)
def test_every_command_has_help(command: str) -> None:
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(cli, [command, flag])
        assert result.exit_code == 0
        assert result.output.startswith(f"Usage: cli {command} ")
    for parameter in cli.get_command(None, command).params:
        hidden = getattr(parameter, "hidden", True)
        assert hidden or parameter.help, f"{command} {parameter.name} has no help"


def test_what_a_command_does_is_said_whole_on_80_columns() -> None:
    done = CliRunner().invoke(cli, ["--help"], terminal_width=80)
    assert "..." not in done.output.partition("Search your files:")[2]


@pytest.mark.slow
def test_a_word_alone_shows_help(jlocal) -> None:
    done = jlocal()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == jlocal("--help").stdout
    # A group needs to be told more.
    done = jlocal("bundle")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: jlocal bundle ")
    assert "Error" not in done.stderr


@pytest.mark.parametrize("command", ["", *ALL])
def test_help_fits_a_terminal_of_80_columns(command: str) -> None:
    done = CliRunner().invoke(cli, [*command.split(), "--help"], terminal_width=80)
    assert [line for line in done.output.splitlines() if len(line) > 80] == []


def test_choices_are_those_of_the_library() -> None:
    """The command line repeats them, so that its help need not import numpy."""
    choices = {
        parameter.name: parameter.type.choices
        for parameter in cli.get_command(None, "embed").params
        if isinstance(parameter.type, click.Choice)
    }
    assert tuple(choices["format"]) == FORMATS
    assert tuple(choices["precision"]) == PRECISIONS


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom jlocal.cli import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('llama_cpp', 'numpy', 'gguf', 'huggingface_hub') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_embed_files(jlocal, model: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (notes / "sub").mkdir(parents=True)
    texts = {"notes/a.md": "alpha", "notes/b.txt": "beta", "notes/sub/c.md": "gamma"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for format in ("npz", "npy", "jsonl"):
        done = jlocal("embed", "notes", "-m", model, "-o", f"out.{format}")
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"Wrote 3 vectors to out.{format}\n"
    with Embedder(model) as embedder:
        expected = embedder.encode(list(texts.values()))
    with np.load(tmp_path / "out.npz") as read:
        assert read["ids"].tolist() == list(texts)
        np.testing.assert_allclose(read["embeddings"], expected, atol=1e-6)
        metadata = json.loads(str(read["metadata"]))
    assert metadata["prompt"] == "Document: "
    assert metadata["dimensions"] == expected.shape[1]
    assert len(metadata["model_sha256"]) == 64
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == list(texts)
    np.testing.assert_allclose([line["embedding"] for line in lines], expected, atol=1e-6)
    done = jlocal("embed", "notes", "--include", "*.md", "-m", model, "-q")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [
        "notes/a.md",
        "notes/sub/c.md",
    ]
    assert done.stderr == ""


@pytest.mark.slow
def test_embed_lines_and_texts(jlocal, model: Path) -> None:
    done = jlocal(
        "embed", "-i", "-", "-c", "three", "-m", model, "--prompt", "query", "--dimensions", 32,
        stdin=b"one\n\ntwo\n",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines] == ["-:1", "-:2", "-:3", "1"]
    with Embedder(model) as embedder:
        expected = embedder.encode_query(["one", "", "two", "three"], truncate_dim=32)
    np.testing.assert_allclose([line["embedding"] for line in lines], expected, atol=1e-6)


@pytest.mark.slow
def test_prompts_on_the_command_line(jlocal, model: Path) -> None:
    def vector(*options: str) -> list[float]:
        done = jlocal("embed", "-m", model, *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["embedding"]

    assert vector("-c", "x", "--prompt", "none") == vector("-c", "x", "--prompt-text", "")
    assert vector("-c", "x", "--prompt", "query") == vector("-c", "x", "--prompt-text", "Query: ")
    assert vector("-c", "x") == vector("-c", "x", "--prompt", "document")
    packed = vector("-c", "x", "--precision", "ubinary")
    assert all(isinstance(value, int) and 0 <= value < 256 for value in packed)


@pytest.mark.slow
def test_a_partial_failure_is_not_a_success(jlocal, model: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "good.txt").write_text("good")
    (notes / "long.txt").write_text("word " * 40_000)
    (notes / "latin.txt").write_bytes("Größe".encode("latin-1"))
    (notes / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (notes / "dangling").symlink_to("nowhere")
    (notes / "loop").symlink_to(notes)
    done = jlocal("embed", "notes", "-m", model, "-o", "out.npz")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Not embedded: notes/latin.txt: not UTF-8 text: 0xF6 in line 1; name its encoding with "
        "--encoding, such as cp1252",
        "Not embedded: notes/long.txt: has 40,003 tokens, above the limit of 32,768; "
        "split it, or cut it with --on-long truncate",
        "Skipped 1 that is not text (picture.png) and 1 broken link (dangling)",
        "Error: 2 of 3 inputs were not embedded.",
        "Wrote 1 vector to out.npz",
    ]
    assert np.load(tmp_path / "out.npz")["ids"].tolist() == ["notes/good.txt"]


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything"
)
def test_what_may_not_be_read_does_not_stop_the_rest(model: Path, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.txt").chmod(0)
    (tmp_path / "locked").mkdir(mode=0)
    capabilities = "--bounding-set=-dac_override,-dac_read_search"
    prefix = ["setpriv", capabilities] if os.geteuid() == 0 else []
    for command, verb in (("embed", "embedded"), ("index", "indexed")):
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "jlocal", command, "good.txt", "secret.txt", "locked",
             "-m", str(model), *(["-d", "c.db"] if command == "index" else [])],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        for name in ("secret.txt", "locked"):
            assert f"Not {verb}: {name}: Permission denied\n" in done.stderr
        assert "good.txt" in done.stdout or ": 1 new" in done.stderr


@pytest.mark.slow
def test_truncation_is_reported(jlocal, converted, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 1500)
    nano = tmp_path / "nano.gguf"
    patch(converted("eurobert"), nano, "eurobert.context_length", 8192, 1000)
    done = jlocal("embed", "long.txt", "-m", nano, "--on-long", "truncate", "-o", "out.npy")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "Truncated: long.txt: from 1,504 to 1,000 tokens",
        "Wrote 1 vector to out.npy",
    ]


@pytest.mark.slow
def test_similar_names_a_text_by_the_number_that_it_prints(jlocal, model: Path) -> None:
    done = jlocal("similar", "-m", model, "a cat", "not UTF-8: \udcff")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: text 2 has ")


@pytest.mark.slow
def test_similar(jlocal, model: Path) -> None:
    done = jlocal("similar", "-m", model, "a cat", "a\ndog", "a cat")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert rows[0][1] == rows[0][3] == "1.000"
    assert rows[1][4:] == ["a", "dog"]
    done = jlocal("similar", "-m", model, "a cat", "naïve", "--json")
    read = json.loads(done.stdout)
    assert read["texts"] == ["a cat", "naïve"]
    assert read["similarity"][0][0] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_show(jlocal, model: Path, converted) -> None:
    done = jlocal("show", model, "--json")
    facts = json.loads(done.stdout)
    assert facts["architecture"] == "qwen3"
    assert facts["prompts"] == {"query": "Query: ", "document": "Document: "}
    assert facts["context"] == 32768
    assert facts["task"] == "retrieval"
    assert facts["bytes"] == model.stat().st_size
    assert "query='Query: '" in jlocal("show", model).stdout
    whole = converted("qwen3", whole=True)
    header = json.loads(jlocal("show", whole, "--header", "--json").stdout)
    assert header["tokenizer.ggml.pre"] == "qwen2"
    assert header["tokenizer.ggml.tokens"] == "(151,936 values)"


def bad_model(content: bytes) -> Callable[[Path], list[object]]:
    def arguments(folder: Path) -> list[object]:
        (folder / "bad.gguf").write_bytes(content)
        return ["embed", "-c", "x", "-m", "bad.gguf"]

    return arguments


def in_folder(*names: str) -> Callable[[Path], list[object]]:
    def arguments(folder: Path) -> list[object]:
        (folder / "notes").mkdir()
        for name in names:
            (folder / "notes" / name).write_bytes(b"\xff\0")
        return ["embed", "notes", "-m", "MODEL", "-o", "out.npy"]

    return arguments


MISTAKES: dict[str, tuple[Callable[[Path], list[object]], int, str]] = {
    "no such command": (lambda _: ["emded"], 2, "did you mean jlocal embed?"),
    "nothing to embed": (lambda _: ["embed", "-m", "MODEL"], 2, "nothing to embed"),
    "no such model": (lambda _: ["embed", "-c", "x", "-m", "no.gguf"], 1, "no such file: no.gguf"),
    "a name": (lambda _: ["embed", "-c", "x", "-m", "small"], 1, "jlocal pull small-retrieval"),
    "a folder as model": (lambda _: ["embed", "-c", "x", "-m", "."], 1, "is a folder"),
    "empty model": (bad_model(b""), 1, "is empty"),
    "renamed zip": (bad_model(b"PK\x03\x04" + bytes(100)), 1, "does not begin as GGUF files do"),
    "cut header": (bad_model(b"GGUF\3\0\0\0" + bytes(3)), 1, "middle of the header"),
    "empty folder": (in_folder(), 1, "notes: no file in it"),
    "folder without text": (in_folder("a.png", "b.png"), 1, "nothing was embedded"),
    "a text without -c": (lambda _: ["embed", "x" * 300, "-m", "MODEL"], 1, "File name too long"),
    "a long model": (lambda _: ["embed", "-c", "x", "-m", "x" * 300], 1, "File name too long"),
    "missing file": (lambda _: ["embed", "no.txt", "-m", "MODEL"], 1, "no such file"),
    "missing lines": (lambda _: ["embed", "-i", "no.txt", "-m", "MODEL"], 1, "No such file"),
    "unknown ending": (
        lambda _: ["embed", "-c", "x", "-m", "MODEL", "-o", "v.bin"], 1, "names no format",
    ),
    "npy to stdout": (lambda _: ["embed", "-c", "x", "-m", "MODEL", "-f", "npy"], 2, "with -o"),
    "folder as output": (
        lambda folder: ["embed", "-c", "x", "-m", "MODEL", "-f", "npy", "-o", folder],
        1, "a folder",
    ),
    "output in no folder": (
        lambda _: ["embed", "-c", "x", "-m", "MODEL", "-o", "no/v.npy"], 1, "cannot write no/v.npy",
    ),
    "unknown prompt": (
        lambda _: ["embed", "-c", "x", "-m", "MODEL", "--prompt", "passage"], 1, "query, document",
    ),
    "two prompts": (
        lambda _: ["embed", "-c", "x", "-m", "MODEL", "--prompt", "query", "--prompt-text", "y"],
        2, "not both",
    ),
    "another task": (
        lambda _: ["embed", "-c", "x", "-m", "MODEL", "--task", "clustering"], 1, "'retrieval'",
    ),
    "too many dimensions": (
        lambda _: ["embed", "-c", "x", "-m", "MODEL", "--dimensions", "4096"], 1, "dimensions",
    ),
    "odd binary": (
        lambda _: ["embed", "-c", "x", "-m", "MODEL", "--precision", "binary", "--dimensions", "9"],
        1, "multiple of 8",
    ),
    "no bytes of text": (lambda _: ["embed", "-c", b"\xff", "-m", "MODEL"], 1, "lone surrogate"),
    "one text": (lambda _: ["similar", "x", "-m", "MODEL"], 2, "at least two"),
    "show nothing": (lambda _: ["show", "no.gguf"], 1, "no such file"),
    "show a zip": (lambda folder: ["show", bad_model(b"PK\3\4")(folder)[-1]], 1, "does not begin"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name: str, model: Path, tmp_path: Path) -> None:
    arguments, status, message = MISTAKES[name]
    words = [model if word == "MODEL" else word for word in arguments(tmp_path)]
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", *words],
        capture_output=True,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    stderr = done.stderr.decode()
    assert done.returncode == status, stderr
    assert done.stdout == b""
    assert message in stderr
    assert "Traceback" not in stderr
    assert len([line for line in stderr.splitlines() if line.startswith("Error: ")]) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_full_standard_output(model: Path) -> None:
    for arguments in (["embed", "-c", "x", "-m", model], ["show", model]):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "jlocal", *arguments],
                stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == "Error: cannot write standard output: No space left on device\n"


@pytest.mark.slow
def test_a_terminal_without_the_characters(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", "similar", "日本", "b", "-m", model],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"\\u65e5" in done.stdout


def start(model: Path, folder: Path, words: int, *options: object) -> subprocess.Popen[bytes]:
    lines = folder / "lines.txt"
    lines.write_text("".join(f"{'word ' * words}{number}\n" for number in range(20_000)))
    command = [sys.executable, "-m", "jlocal", "embed", "-i", lines, "-m", model, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("format", ["npy", "npz", "jsonl"])
def test_ctrl_c(format: str, stop: int, status: int, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / f"v.{format}"
    output.parent.mkdir()
    with start(model, tmp_path, 300, "-o", output) as child:
        deadline = time.monotonic() + 60
        while not list(output.parent.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        assert child.poll() is None
        child.send_signal(stop)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == status, stderr.decode()
    told = [line for line in stderr.decode().split("\n") if line and " is kept in " not in line]
    assert told == (["Interrupted."] if status == 130 else [])
    left = [path.name for path in output.parent.iterdir()]
    assert left == ([f".{output.name}.jlocal-journal"] if b" is kept in " in stderr else [])


@pytest.mark.slow
def test_a_reader_that_leaves(model: Path, tmp_path: Path) -> None:
    with start(model, tmp_path, 3) as child:
        child.stdout.readline()
        child.stdout.close()
        stderr = child.stderr.read()
        child.wait(timeout=60)
    assert child.returncode == 1
    assert stderr == b""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
@pytest.mark.parametrize("format", ["npy", "npz", "jsonl"])
def test_full_disk(format: str, jlocal, model: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "lines.txt").write_text("".join(f"{number}\n" for number in range(5000)))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], check=True)
    try:
        done = jlocal("embed", "-i", "lines.txt", "-m", model, "-o", f"disk/v.{format}")
        assert done.returncode == 1
        error = done.stderr.splitlines()[-1]
        assert error.startswith("Error: cannot write ")
        assert "No space left on device" in error
        assert {path.name.removesuffix("-wal") for path in disk.iterdir()} == {
            f".v.{format}.jlocal-journal"
        }
    finally:
        subprocess.run(["umount", str(disk)], check=True)
