"""What a command prints is written whole, or the command fails and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RUN = [sys.executable, "-m", "jlocal"]
LINUX = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
FULL = "Error: cannot write standard output: No space left on device\n"
CLOSED = "Error: cannot write standard output: it is closed\n"

# Every command that prints data; MODEL is the starter.
PRINTING = (
    ["embed", "-c", "x", "-m", "starter"],
    ["similar", "a", "b", "-m", "starter"],
    ["similar", "a", "b", "-m", "starter", "--json"],
    ["search", "cat", "-d", "n.db"],
    ["search", "cat", "-d", "n.db", "--json"],
    ["search", "cat", "-d", "n.db", "--interactive", "--json"],
    ["map", "-d", "n.db", "-o", "-"],
    ["export", "-d", "n.db", "-o", "-"],
    ["show", "starter"],
    ["show", "starter", "--json"],
    ["list"],
    ["list", "--json"],
    ["doctor", "starter", "--json"],
    ["verify", "starter", "--against", "starter", "--texts", "notes/a.txt", "--json"],
    ["serve", "--port", "0"],
    ["serve", "--print-unit"],
    ["status", "-d", "n.db"],
    ["collections", "path"],
    ["help", "search"],
    ["--help"],
    ["embed", "--help"],
    ["--version"],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("A cat.\nA kitten.\nA stock exchange.\n")
    words = " ".join(f"word{number}" for number in range(40))
    for number in range(300):
        (folder / "notes" / f"{number}.txt").write_text(f"{number} {words}")
    arguments = ["index", "notes", "-d", "n.db", "-m", "starter"]
    subprocess.run([*RUN, *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def shell(line: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a line of shell in which "$@" is jlocal with these arguments."""
    return subprocess.run(
        ["bash", "-c", line, "bash", *RUN, *arguments],
        cwd=cwd, env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@LINUX
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_full_disk_is_said(arguments: list[str], folder: Path) -> None:
    unbuffered = "1" if len(arguments) % 2 else ""
    done = shell('"$@" >/dev/full', *arguments, cwd=folder, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (1, FULL)


@LINUX
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["map", "-d", "n.db", "-o", "-"], ["export", "-d", "n.db", "-o", "-"]]
)
def test_a_file_that_may_not_grow_is_said(
    arguments: list[str], unbuffered: str, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = f'ulimit -f 64; "$@" >{out}'
    done = shell(line, *arguments, cwd=folder, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == "Error: cannot write standard output: File too large\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_gets_all_of_a_page(unbuffered: str, folder: Path) -> None:
    """A pipe that is not read at once takes a part of what is written, and so may any file."""
    arguments = ("map", "-d", "n.db", "-o", "-")
    whole = shell('"$@" | (sleep 1; cat)', *arguments, cwd=folder, PYTHONUNBUFFERED=unbuffered)
    assert len(whole.stdout) > 1 << 16
    assert whole.stdout.rstrip().endswith("</html>")


def test_a_pipe_that_does_not_block_gets_all(folder: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (
        subprocess.Popen(
            [*RUN, "export", "-d", "n.db", "-o", "-"], cwd=folder, stdout=writing
        ) as process,
        os.fdopen(reading, "rb") as file,
    ):
        os.close(writing)
        lines = file.read().splitlines()
        assert process.wait(60) == 0
    assert len(lines) == 301
    assert all(json.loads(line)["embedding"] for line in lines)


def test_a_closed_standard_output_is_said(folder: Path) -> None:
    for arguments in (PRINTING[0], PRINTING[6], ["show", "starter", "--json"], ["--help"]):
        done = shell('"$@" >&-', *arguments, cwd=folder)
        assert (done.returncode, done.stderr) == (1, CLOSED)


def test_without_standard_error_the_data_still_comes(folder: Path) -> None:
    # Without a summary to write, and with an error to report.
    for redirection in ("2>&-", "2>/dev/full", "2>&- <&-"):
        done = shell(f'"$@" {redirection}', "export", "-d", "n.db", "-o", "-", cwd=folder)
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 301)
        done = shell(f'"$@" {redirection}', "embed", "none", "-c", "x", "-m", "starter", cwd=folder)
        assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)


def test_with_no_stream_at_all_the_status_is_right(folder: Path, tmp_path: Path) -> None:
    line = '"$@" >&- 2>&- <&-'
    assert shell(line, "show", "starter", cwd=folder).returncode == 1
    assert shell(line, "shwo", cwd=folder).returncode == 2
    output = tmp_path / "v.npy"
    arguments = ("embed", "-c", "x", "-m", "starter", "-o", str(output))
    assert shell(line, *arguments, cwd=folder).returncode == 0
    # Nothing that was printed is in the file that was opened first.
    assert output.read_bytes().startswith(b"\x93NUMPY")


def test_a_closed_standard_input_has_no_lines(folder: Path) -> None:
    done = shell('"$@" <&-', "embed", "-i", "-", "-m", "starter", cwd=folder)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == "Not embedded: -: standard input is closed"


def test_a_reader_that_leaves_is_not_told(folder: Path) -> None:
    for arguments in (["list", "--json"], ["map", "-d", "n.db", "-o", "-", "-q"]):
        done = shell('"$@" | true; exit ${PIPESTATUS[0]}', *arguments, cwd=folder)
        assert done.returncode in (0, 1)
        assert done.stderr == ""


def test_a_path_is_printed_as_it_is(folder: Path, tmp_path: Path) -> None:
    name = os.fsdecode(bytes(tmp_path) + b"/\xff\xe4.tar")
    done = subprocess.run(
        [*RUN, "bundle", "create", "starter", "-o", name], capture_output=True, check=False
    )
    if done.returncode == 0:
        assert done.stdout == os.fsencode(name) + os.linesep.encode()
