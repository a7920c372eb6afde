"""Ctrl-C, a full disk, a failing write: whenever it happens, no file is left or replaced."""

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from jlocal.errors import OutputError
from jlocal_convert import convert
from support.checkpoints import build

pytestmark = pytest.mark.slow

# Says on stdout how far it is, so that the test knows when to interrupt it.
RUN = """
import sys
from jlocal_convert import convert
def say(step):
    print(step.file, step.done, flush=True)
convert(sys.argv[1], types=sys.argv[3:], output=sys.argv[2], threads=1, progress=say)
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """Return a checkpoint that takes a second to convert."""
    shape = {"hidden": 256, "layers": 2, "heads": 4, "ffn": 256}
    return build(tmp_path_factory.mktemp("wide") / "wide", "qwen3", tasks=("retrieval",), **shape)


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """Return a file system of 300 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("after", ["wide-retrieval-F32+F16.gguf", "wide-retrieval-Q4_K_M.gguf"])
def test_ctrl_c(wide, tmp_path, after) -> None:
    (tmp_path / "wide-retrieval-Q3_K_M.gguf").write_text("mine")
    command = [sys.executable, "-c", RUN, str(wide), str(tmp_path), "F32", "F16", "Q4_K_M"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert any(line.startswith(after) for line in child.stdout)
        (hidden,) = tmp_path.glob(".jlocal-*.tmp")
        assert len(list(hidden.iterdir())) == (3 if "Q4_K_M" in after else 2)
        # As a terminal does it: to every process of the group.
        os.killpg(child.pid, signal.SIGINT)
        child.stdout.read()
        assert "KeyboardInterrupt" in child.stderr.read()
    assert child.returncode in (130, -signal.SIGINT)
    assert [path.name for path in tmp_path.iterdir()] == ["wide-retrieval-Q3_K_M.gguf"]


def test_ctrl_c_on_the_command_line(wide, tmp_path) -> None:
    command = [sys.executable, "-m", "jlocal", "convert", str(wide), "--to", "Q4_K_M"]
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        while child.poll() is None and not list(tmp_path.glob("out/.*")):
            pass
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    assert (child.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert not list((tmp_path / "out").iterdir())


def test_a_disk_that_is_too_small(wide, small_disk) -> None:
    with pytest.raises(OutputError, match=r"need \d+ MB, but only \d+ MB are free"):
        convert(wide, types=("F32", "F16", "BF16"), output=small_disk / "out")
    assert not list(small_disk.iterdir())


def test_a_disk_that_fills_up(wide, small_disk) -> None:
    (small_disk / "qwen3-retrieval-Q4_0.gguf").write_text("mine")

    def fill(step) -> None:
        if step.file.endswith("-Q4_K_M.gguf") and not (small_disk / "filler").exists():
            with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
                while file.write(bytes(1 << 20)):
                    pass

    with pytest.raises(OutputError, match=r"No space left|only 0 MB are free"):
        convert(wide, types=("Q4_K_M",), output=small_disk, threads=1, progress=fill)
    left = {path.name for path in small_disk.iterdir()}
    assert left == {"filler", "qwen3-retrieval-Q4_0.gguf"}


def test_a_write_that_fails(small_checkpoint, tmp_path) -> None:
    command = [sys.executable, "-m", "jlocal", "convert", str(small_checkpoint)]
    done = subprocess.run(
        [*command, "--to", "F16", "--to", "Q8_0", "-o", str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10 << 20, 10 << 20)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot write to {tmp_path}: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(small_checkpoint) -> None:
    for folder in ("x" * 300, "x\0y"):
        with pytest.raises(OutputError, match="cannot "):
            convert(small_checkpoint, output=folder)
