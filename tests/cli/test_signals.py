"""Ctrl-C, SIGTERM, SIGHUP and SIGKILL: nothing half-written stays, and no child goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal import child

RUN = [sys.executable, "-m", "jlocal"]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals"),
]

# More than any of this takes on a busy machine, and less than what it took before.
SOON = 30


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 2 * SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def bytes_read(pid: int) -> int:
    """Return how much a process has read of files and pipes since it began."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"])


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    command = [*RUN, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, list[str]]:
    _, stderr = process.communicate(timeout=SOON)
    lines = stderr.decode().splitlines()
    return process.returncode, [line for line in lines if " is kept in " not in line]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{'word ' * 300}{number}\n" for number in range(20_000)))
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "v.npy"


def begun(lines: Path, output: Path, **options: object) -> subprocess.Popen[bytes]:
    process = start("embed", "-i", lines, "-m", "starter", "-o", output, **options)
    wait_for(lambda: list(output.parent.iterdir()))
    return process


def left(output: Path) -> list[str]:
    return [path.name for path in output.parent.iterdir() if "jlocal-journal" not in path.name]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_half_written_files_go(number: int, status: int, lines: Path, output: Path) -> None:
    with begun(lines, output) as process:
        process.send_signal(number)
        assert ended(process) == (status, [])
    assert left(output) == []


ENDINGS = pytest.mark.parametrize(
    ("numbers", "status", "said"),
    [
        ([signal.SIGHUP], 129, []),
        ([signal.SIGTERM], 143, []),
        ([signal.SIGINT] * 2, 130, ["Interrupted."]),
    ],
)
WATCHING = "Watching 1 folder; Ctrl-C ends it."


@ENDINGS
def test_a_watch_ends_in_silence(
    numbers: list[int], status: int, said: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("watchfiles")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("A cat.")
    made = ["index", "notes", "-d", "n.db", "-m", "starter", "-q"]
    subprocess.run([*RUN, *made], cwd=tmp_path, check=True)
    with start("watch", "-d", "n.db", cwd=tmp_path) as process:
        assert process.stderr
        assert process.stderr.readline().decode().strip() == WATCHING
        # A signal within a write to stderr would repeat what was written.
        time.sleep(0.5)
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.02)
        assert ended(process) == (status, said)


@ENDINGS
def test_no_half_of_a_shard_stays(
    numbers: list[int], status: int, said: list[str], lines: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    arguments = ("-m", "starter", "--part", "1/1", "--shard-rows", "20")
    with start("cluster", "embed", lines, out, *arguments) as process:
        wait_for(lambda: list(out.glob("part-*.parquet")))
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.02)
        assert ended(process) == (status, said)
    import pyarrow.parquet

    rows = {pyarrow.parquet.read_metadata(path).num_rows for path in out.glob("part-*.parquet")}
    assert rows == {20}
    assert [path.name for path in out.rglob("*") if "part-" not in path.name] == [
        "_jlocal",
        "job.json",
    ]


def test_nohup_is_respected(lines: Path, output: Path) -> None:
    with begun(
        lines, output, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (143, [])


@pytest.mark.parametrize("pause", [0, 0.02, 0.2])
def test_a_second_ctrl_c_does_not_stop_the_cleaning_up(
    pause: float, lines: Path, output: Path
) -> None:
    with begun(lines, output) as process:
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
        assert ended(process) == (130, ["Interrupted."])
    assert left(output) == []


AT_AN_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from jlocal.__main__ import main
sys.argv[1:] = ["embed", "-c", "x", "-m", "starter"]
main()
"""


@pytest.mark.parametrize("module", ["click", "numpy", "llama_cpp", "jlocal.llama.context"])
def test_ctrl_c_while_modules_are_imported(module: str) -> None:
    code = AT_AN_IMPORT.replace("sys.argv[-1]", repr(module))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"Interrupted.\n")


WHERE_PYTHON_FORGETS = """
import sys, time
from jlocal.cli import cli, main
class Thing:
    def __del__(self):
        raise KeyboardInterrupt
def work(**_):
    from jlocal.cli import signals
    signals._Stopping.number = 2
    Thing()
    time.sleep(60)
cli.main = work
main()
"""


def test_ctrl_c_is_not_lost_where_python_forgets_it() -> None:
    """In a destructor or a callback of C it is printed and forgotten otherwise."""
    done = subprocess.run(
        [sys.executable, "-c", WHERE_PYTHON_FORGETS], capture_output=True, check=False, timeout=SOON
    )
    assert (done.returncode, done.stderr) == (130, b"Interrupted.\n")


def test_a_signal_ends_the_reading_of_a_large_record(tmp_path: Path) -> None:
    """llama.cpp tokenises 62 MB in minutes, in one call."""
    record = tmp_path / "record.txt"
    record.write_bytes(b"a" * 62_000_000)
    with start("embed", "-i", record, "-m", "starter") as process:
        if sys.platform.startswith("linux"):
            wait_for(lambda: bytes_read(process.pid) >= record.stat().st_size)
            time.sleep(1)
        else:
            time.sleep(4)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (143, [])


@LINUX
def test_an_endless_line_is_given_up() -> None:
    with start("embed", "-i", "/dev/zero", "-c", "x", "-m", "starter") as process:
        status, said = ended(process)
    assert status == 1
    assert said == [
        "Not embedded: /dev/zero:1: a line without an end in 1 GiB; not read on",
        "Error: 1 of 2 inputs were not embedded.",
    ]


def test_a_line_above_the_limit_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"one\n" + b"a" * (70 << 20) + b"\nthree\n")
    with start("embed", "-i", path, "-m", "starter") as process:
        stdout, stderr = process.communicate(timeout=2 * SOON)
    assert process.returncode == 1
    assert [line[:9] for line in stdout.splitlines()] == [b'{"id": "1', b'{"id": "3']
    assert b"lines.txt:2: a line larger than 64 MiB; split it\n" in stderr


def quantizing(few: Path, target: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a quantisation, and hold its child as soon as there is one."""
    process = start("quantize", few, "--to", "Q4_0", "-o", target)
    wait_for(lambda: any(map(is_booting, children(process.pid))))
    (worker,) = children(process.pid)
    os.kill(worker, signal.SIGSTOP)
    return process, worker


def release(worker: int) -> None:
    """Let a child go on that was held before it could ask the system to end with its parent."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)


def is_booting(pid: int) -> bool:
    """Whether a child is past the moment in which it is a copy of its parent."""
    return b"boot.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


@LINUX
def test_a_quantiser_ends_with_its_killed_parent(few: Path, tmp_path: Path) -> None:
    process, worker = quantizing(few, tmp_path / "made")
    with process:
        process.kill()
        process.wait()
        release(worker)
        wait_for(lambda: not is_alive(worker))
    # Its hidden folder is empty; the next process that works there deletes it.
    files = [path for path in (tmp_path / "made").rglob("*") if path.is_file()]
    assert [path for path in files if path.stat().st_size] == []


@LINUX
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGTERM, 143)]
)
def test_a_quantiser_ends_with_its_command(
    number: int, status: int, few: Path, tmp_path: Path
) -> None:
    process, worker = quantizing(few, tmp_path / "made")
    with process:
        process.send_signal(number)
        assert ended(process) == (status, ["Interrupted."] if status == 130 else [])
    release(worker)
    wait_for(lambda: not is_alive(worker))
    assert list((tmp_path / "made").rglob("*")) == []


@LINUX
def test_what_a_child_has_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip is ended, and so are the compilers that it runs."""
    (tmp_path / "starts.py").write_text(
        "import subprocess, sys, time\n"
        "started = subprocess.Popen(['sleep', '600'])\n"
        "print(started.pid, file=open(sys.argv[1], 'w'), flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TimeoutError):
        child.run("starts", str(tmp_path / "pid"), limits=child.Limits(seconds=3))
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_alive(pid))
