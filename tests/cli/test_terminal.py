"""What others have named, written or answered reaches no terminal as a command to it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal.models import starter
from jlocal.progress import make_bar
from support.bundles import MODEL, manifest, pack
from support.escapes import BAD, NAME, leaks
from support.headers import text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of files with such names and contents."""
    folder = tmp_path_factory.mktemp("terminal")
    notes = folder / "notes"
    notes.mkdir()
    (notes / f"{NAME}.bin").write_bytes(b"\0\xff")
    (notes / f"{NAME}.txt").write_text(f"A cat {BAD} and a dog.")
    (notes / f"{BAD}.jsonl").write_text(json.dumps({BAD: "x"}) + "\n{\n")
    (folder / f"{NAME}.gguf").write_bytes(b"GGUF" + BAD.encode() * 9)
    source = starter.FILE.read_bytes()
    magic, version, tensors, keys = struct.unpack_from("<4sIQQ", source)
    more = [text(f"jlocal.prompt.{BAD}", BAD), text(f"general.{BAD}", BAD)]
    header = struct.pack("<4sIQQ", magic, version, tensors, keys + len(more))
    # Tensors lie at multiples of 32 after the header, which stays so.
    filler = -sum(map(len, more)) % 32
    filler += 32 * (filler < 32)
    more[1] = text(f"general.{BAD}", BAD + "x" * filler)
    body = source[24:].replace(b"apache-2.0", b"\x1b[2J\nFOR\xc2\x9b"[:10])
    (folder / "evil.gguf").write_bytes(header + b"".join(more) + body)
    members = {"LICENSE": b"free\n", "models/tiny.gguf": MODEL}
    value = manifest(members, models=[{"name": "tiny", "path": "models/tiny.gguf", "license": BAD}])
    (folder / f"{NAME}.tar").write_bytes(pack(value, members))
    checkpoint = folder / f"{NAME}.d"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"model_type": BAD, "architectures": [BAD]}))
    return folder


@pytest.fixture
def run(folder: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *arguments],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False,
            env={**os.environ, "NO_COLOR": "1", "PYTHONUTF8": "1"},
        )  # fmt: skip

    return run


SHOWING = (
    ["embed", "notes", "-m", "starter", "-o", "v.jsonl"],
    ["embed", "-i", NAME, "-c", "x", "-m", "starter", "-o", f"{NAME}.npy"],
    ["embed", "-c", "x", "-m", "starter", "-o", f"{BAD}/v.npy"],
    ["embed", "-c", "x", "-m", "evil.gguf", "--prompt", "none such"],
    ["embed", "-c", "x", "-m", f"{NAME}.gguf"],
    ["embed", "-c", "x", "--task", BAD, "-m", "starter"],
    ["embed", f"--{BAD}"],
    ["embed", "-c", "x", "--precision", BAD],
    ["similar", BAD, "b", "-m", "starter"],
    ["similar", BAD, "b", "-m", "starter", "--json"],
    ["index", "notes", "-d", "n.db", "-m", "starter", "--field", "x"],
    ["index", "notes", "-d", f"{BAD}.db", "-m", "starter"],
    ["search", "cat", "-d", f"{BAD}.db"],
    ["search", "cat", "-d", f"{BAD}.db", "--json"],
    ["search", BAD, "-d", f"{BAD}.db", "--interactive"],
    ["search", "cat", "-d", f"{NAME}.txt"],
    ["map", "-d", f"{BAD}.db", "-o", f"{NAME}.html"],
    ["map", "-d", f"{BAD}.db", "--title", BAD, "-o", "-"],
    ["export", "-d", f"{BAD}.db", "-o", f"{NAME}.csv"],
    ["export", "-d", f"{BAD}.db", "-o", "-"],
    ["export", "-d", f"{BAD}.db", "-o", f"v.{BAD}"],
    ["pull", BAD, "--yes"],
    ["show", "evil.gguf"],
    ["show", "evil.gguf", "--header"],
    ["show", "evil.gguf", "--json"],
    ["show", "evil.gguf", "--header", "--json"],
    ["show", f"{NAME}.gguf"],
    ["rm", BAD, "--yes"],
    ["convert", f"{NAME}.d", "-o", "made"],
    ["convert", "none", "--task", BAD, "-o", BAD],
    ["quantize", "evil.gguf", "--to", BAD, "-o", NAME],
    ["quantize", f"{NAME}.gguf", "--to", "Q4_0", "-o", "made"],
    ["quantize", "evil.gguf", "--tensor-type", f"{BAD}=Q4_0", "--to", "Q4_0", "-o", "made"],
    ["bundle", "create", f"{NAME}.gguf", "-o", "b.tar"],
    ["bundle", "verify", f"{NAME}.tar"],
    ["bundle", "install", f"{NAME}.tar"],
    ["bundle", "verify", "evil.gguf"],
    ["verify", f"{NAME}.gguf", "--against", "starter"],
    ["doctor", f"{NAME}.gguf"],
    ["doctor", f"{NAME}.gguf", "--json"],
    ["bench", f"{NAME}.gguf"],
    ["status", "-d", f"{BAD}.db"],
    ["status", "-d", f"{BAD}.db", "--json"],
    ["update", "-d", f"{BAD}.db", "-v"],
    ["forget", NAME, "-d", f"{BAD}.db", "--yes"],
    ["collections", "path", BAD],
    ["import", f"{NAME}.npz", "-d", "i.db"],
    ["watch", "-d", f"{NAME}.txt"],
    ["cluster", "embed", NAME, "out", "--part", "1/1"],
    ["cluster", "embed", f"{BAD}.jsonl", f"{NAME}.d", "--part", "1/1"],
    ["cluster", "embed", "notes", "out", "--part", "1/1"],
    ["serve", "-m", f"{NAME}.gguf", "--port", "0"],
    ["serve", "-d", f"{NAME}.txt", "--port", "0"],
    ["serve", "--host", BAD, "--no-auth"],
    ["mcp", "-d", f"{NAME}.txt"],
    ["help", BAD],
    [BAD],
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    SHOWING,
    ids=lambda words: ascii(" ".join(words))[:40],
)
def test_nothing_commands_the_terminal(arguments: list[str], run) -> None:
    done = run(*arguments)
    assert done.stdout or done.stderr
    assert b"Traceback" not in done.stderr
    assert leaks(done.stdout + done.stderr) == []


@pytest.mark.slow
def test_a_listing_of_models_commands_nothing(run, monkeypatch, tmp_path: Path) -> None:
    cache = tmp_path / "hub" / f"models--{BAD}--x" / "snapshots" / ("0" * 40)
    cache.mkdir(parents=True)
    shutil.copy(starter.FILE, cache / f"{BAD}-Q8_0.gguf")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for arguments in (["list"], ["list", "--json"]):
        done = run(*arguments)
        assert leaks(done.stdout + done.stderr) == []


@pytest.mark.slow
def test_json_is_the_same_to_a_program(run) -> None:
    done = run("similar", BAD, "日本\u3000語 👩\u200d🔬", "-m", "starter", "--json")
    assert json.loads(done.stdout)["texts"] == [BAD, "日本\u3000語 👩\u200d🔬"]
    assert "日本\u3000語 👩\u200d🔬".encode() in done.stdout
    done = run("show", "evil.gguf", "--header", "--json")
    assert json.loads(done.stdout)[f"jlocal.prompt.{BAD}"] == BAD


def test_what_is_the_programs_own_stays(run) -> None:
    """Line breaks of a usage message, and colours where they are wanted."""
    done = run("embed", f"--{BAD}")
    assert done.stderr.decode().splitlines()[:3] == [
        "Usage: jlocal embed [OPTIONS] [PATH|TEXT]...",
        "Try 'jlocal embed --help' for help.",
        "",
    ]


def test_the_title_of_a_bar_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with make_bar(BAD, total=3) as bar:
        bar.update(1)
    shown = capsys.readouterr().err
    assert "owned" in shown
    # A bar itself goes back to the beginning of its line.
    assert leaks(shown.replace("\r", "").encode()) == []


def test_a_warning_of_a_library_is_one_line() -> None:
    code = f"""
import sys, warnings
sys.argv = ["jlocal", "list"]
from jlocal import cli
def noisy(*_, **__):
    warnings.warn({BAD!r}, UserWarning)
cli.cli.main = noisy
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stderr.startswith(b"Warning: a")
    assert leaks(done.stderr) == []
