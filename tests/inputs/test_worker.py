"""The child that reads files one after another: when it is started, ended, and given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jlocal.errors import TextError
from jlocal.inputs.worker import Worker

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals")

READER = """
    import os, signal, time
    from jlocal.errors import TextError
    from jlocal.inputs.serve import serve

    def read(data):
        word = data.decode()
        if word == "refused":
            raise TextError("no \\x1b[31m")
        if word == "sleep":
            time.sleep(1000)
        if word == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "raise":
            raise ValueError(word)
        if word == "large":
            return {"size": len(bytearray(300 << 20))}
        if word == "print":
            os.write(1, b"noise")
        return {"pid": os.getpid(), "word": word}

    if __name__ == "__main__":
        serve(read)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "reader_of_test.py").write_text(textwrap.dedent(READER))
    monkeypatch.syspath_prepend(str(tmp_path))
    worker = Worker("reader_of_test", seconds=60, memory=2 << 30)
    yield worker
    worker.close()


def pid(worker: Worker, word: bytes = b"x") -> int:
    return int(str(worker.read(word)["pid"]))


def test_one_child_reads_many_files(worker: Worker) -> None:
    assert len({pid(worker, b"%d" % number) for number in range(50)}) == 1
    assert worker.read("é".encode() * 3_000_000)["word"] == "é" * 3_000_000
    assert worker.read(b"print")["word"] == "print"


def test_a_refusal_is_one_printable_line(worker: Worker) -> None:
    with pytest.raises(TextError) as error:
        worker.read(b"refused")
    assert error.value.reason == "no \ufffd[31m"


@pytest.mark.parametrize("word", [b"crash", b"raise"])
def test_the_next_file_is_read_after_one_that_ends_the_child(worker: Worker, word: bytes) -> None:
    before = pid(worker)
    with pytest.raises(TextError, match="reading it broke off"):
        worker.read(word)
    assert pid(worker) != before


def test_a_file_that_takes_too_long_is_given_up(worker: Worker) -> None:
    before = pid(worker)
    worker.seconds = 1
    with pytest.raises(TextError, match="not read within 1 seconds"):
        worker.read(b"sleep")
    worker.seconds = 60
    assert pid(worker) != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


@POSIX
def test_a_child_that_someone_ended_is_started_again(worker: Worker) -> None:
    before = pid(worker)
    os.kill(before, signal.SIGKILL)
    assert pid(worker) != before


@pytest.mark.slow
@POSIX
def test_a_large_file_leaves_no_large_process(worker: Worker) -> None:
    before = pid(worker)
    assert worker.read(b"large")["size"] == 300 << 20
    assert pid(worker) != before


@pytest.mark.slow
def test_threads_take_turns(worker: Worker) -> None:
    answers: list[object] = []

    def read(word: str) -> None:
        answers.append(worker.read(word.encode())["word"])

    threads = [threading.Thread(target=read, args=(f"{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == sorted(map(str, range(20)))


@POSIX
def test_a_fork_has_a_child_of_its_own(worker: Worker) -> None:
    before = pid(worker)
    forked = os.fork()
    if forked == 0:
        own = pid(worker)
        worker.close()
        os._exit(0 if own != before else 1)
    assert os.waitpid(forked, 0)[1] == 0
    assert pid(worker) == before


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("kind", ["html", "pdf"])
def test_ctrl_c_ends_it_at_once_without_orphans(kind: str, tmp_path: Path) -> None:
    """Ctrl-C reaches the command and its child, as in a terminal."""
    from support.pdfs import FOREVER

    attributes = " ".join(f"a{number}=x" for number in range(200_000))
    content = FOREVER if kind == "pdf" else f"<p {attributes}>text</p>".encode()
    (tmp_path / f"slow.{kind}").write_bytes(content)
    process = subprocess.Popen(
        [sys.executable, "-m", "jlocal", "embed", str(tmp_path), "-m", "starter"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # pytest's own Ctrl-C may be ignored by whoever started it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        reader = _wait_for_reader(process)
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - start < 20
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    while _runs(reader):
        assert time.monotonic() - start < 20
        time.sleep(0.05)


def _runs(number: int) -> bool:
    """Tell whether a process runs; one that ended may still be listed, as a zombie."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", f"{number}"], capture_output=True, text=True, check=False
    )
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")


def _wait_for_reader(process: subprocess.Popen[str]) -> int:
    """Wait until there is a child that reads, and return its number."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        listed = subprocess.run(
            ["ps", "-ww", "-e", "-o", "pid=,ppid=,args="],
            capture_output=True,
            text=True,
            check=True,
        )
        for row in listed.stdout.splitlines():
            number, parent, command = row.split(None, 2)
            if int(parent) == process.pid and "jlocal.inputs." in command:
                return int(number)
        time.sleep(0.1)
    raise AssertionError("no child that reads")
