"""`jlocal search --interactive`: at a terminal as a person types, and in a pipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from jlocal import Collection
from support.texts import AWKWARD

pytestmark = pytest.mark.slow

ARGUMENTS = ["-m", "jlocal", "search", "-d", "notes.db", "--interactive"]
PROMPT = "search> "
WAIT = 120


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, converted) -> Path:
    folder = tmp_path_factory.mktemp("interactive")
    (folder / "notes").mkdir()
    (folder / "notes" / "backup.md").write_text("Every night, kept for thirty days.\n")
    (folder / "notes" / "budget.md").write_text("We spend less.\n")
    with Collection(folder / "notes.db", converted("qwen3", "retrieval", "F32")) as collection:
        collection.index(folder / "notes")
    return folder


@pytest.fixture
def pipe(notes: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(stdin: str | bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, *ARGUMENTS, *arguments],
            input=data, capture_output=True, cwd=notes, check=False,
        )  # fmt: skip
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


@pytest.fixture
def terminal(notes: Path):
    children = []

    def start(*arguments: str, columns: int = 20_000) -> pexpect.spawn:
        child = pexpect.spawn(
            sys.executable,
            [*ARGUMENTS, *arguments],
            cwd=notes,
            timeout=WAIT,
            encoding="utf-8",
            # A line that is wider than the terminal is echoed with moves of the cursor.
            dimensions=(24, columns),
            env={**os.environ, "TERM": "dumb", "NO_COLOR": "1"},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def status(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_every_line_of_a_pipe_is_a_query(pipe) -> None:
    done = pipe("backups\nwhat do we spend?\n", "-n", "1")
    assert (done.returncode, done.stderr) == (0, "")
    page = r"1  \d\.\d\d  notes/\w+\.md:1\n   .+\n\n"
    assert re.fullmatch(rf"> backups\n{page}> what do we spend\?\n{page}", done.stdout)
    assert PROMPT not in done.stdout
    # The last line need not end, the first may have a mark, and Windows ends them otherwise.
    for data in (b"backups", b"\xef\xbb\xbfbackups\r\n", "backups\r\n".encode("utf-16")):
        again = pipe(data, "-n", "1")
        assert again.stdout == done.stdout[: len(again.stdout)] != ""


def test_the_query_that_is_given_comes_first(pipe) -> None:
    heads = [line for line in pipe("second\n", "first").stdout.splitlines() if line[:1] == ">"]
    assert heads == ["> first", "> second"]
    assert pipe("", "first").stdout.startswith("> first\n")


def test_no_queries_at_all(pipe, notes: Path) -> None:
    done = pipe("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    command = " ".join([sys.executable, *ARGUMENTS, "<&-"])
    closed = subprocess.run(["sh", "-c", command], cwd=notes, capture_output=True, check=False)
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", b"")


def test_a_query_that_fails_does_not_stop_the_others(pipe) -> None:
    long = "word " * 40_000
    done = pipe(f"backups\n\n{long}\n".encode() + b"caf\xe9\nspend\n", "-n", "1")
    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert errors[0] == "Error: line 2: the query is empty"
    assert re.fullmatch(
        r"Error: line 3: the query has 40,0\d\d tokens, above the limit of 32,768", errors[1]
    )
    assert errors[2:] == [
        "Error: line 4: the query is not UTF-8 text",
        "Error: 3 of 5 queries could not be answered.",
    ]
    # As many pages as queries.
    assert sum(line[:1] == ">" for line in done.stdout.splitlines()) == 5
    assert done.stdout.count("  notes/") == 2


def test_a_line_of_json_for_each_query(pipe) -> None:
    texts = [*(text for text in AWKWARD.values() if not re.search(r"[\r\n\0]", text)), "x"]
    done = pipe("\n".join(texts) + "\n", "--json")
    rows = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert [row["query"] for row in rows] == texts
    for text, row in zip(texts, rows, strict=True):
        if text.strip():
            assert set(row) == {"query", "hits"}
            assert {Path(hit["path"]).name for hit in row["hits"]} == {"backup.md", "budget.md"}
        else:
            assert row == {"query": text, "error": "the query is empty"}
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert re.fullmatch(r"Error: \d of \d\d queries could not be answered\.", said)
    done = pipe(b"\xff\nx\n", "--json", "--min-score", "1")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"query": None, "error": "the query is not UTF-8 text"},
        {"query": "x", "hits": []},
    ]


def test_answers_come_before_the_next_query_is_asked(notes: Path) -> None:
    with subprocess.Popen(
        [sys.executable, *ARGUMENTS, "--json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=notes, text=True, bufsize=1,
    ) as child:  # fmt: skip
        for query in ("one", "two", "three"):
            child.stdin.write(f"{query}\n")
            assert json.loads(child.stdout.readline())["query"] == query
        child.stdin.close()
        assert child.wait(WAIT) == 0


def test_what_no_query_can_mend_is_said_at_once(pipe, converted, notes: Path) -> None:
    for arguments, message in (
        (("-d", "none.db"), "no such file: none.db"),
        (("-m", str(converted("qwen3", "retrieval", "Q8_0"))), "is another file"),
        (("--prompt", "nothing"), "has no prompt 'nothing'"),
    ):
        done = pipe("one\ntwo\n", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    command = [sys.executable, "-m", "jlocal", "search", "-d", "notes.db"]
    done = subprocess.run(command, cwd=notes, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "name a query; --interactive reads queries" in done.stderr


def test_a_reader_that_leaves(notes: Path) -> None:
    with subprocess.Popen(
        [sys.executable, *ARGUMENTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=notes,
    ) as child:  # fmt: skip
        child.stdout.close()
        child.stdin.write(b"one\ntwo\n")
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait(WAIT) == 1


def test_a_person_asks(terminal) -> None:
    child = terminal("-n", "1", "first of all")
    child.expect(r"1  notes/\w+\.md:1 +[●○]{5}\r\n   .+\r\n\r\n")
    assert "first of all" not in child.before
    for query in ("backups", "Größe 火星 👩‍💻"):
        child.expect_exact(PROMPT)
        child.sendline(query)
        child.expect(r"1  notes/\w+\.md:1 +[●○]{5}\r\n   .+\r\n\r\n")
        assert ">" not in child.before
    child.expect_exact(PROMPT)
    child.sendline("")
    assert status(child) == 0


@pytest.mark.parametrize("end", ["\x04", "\x03", " \n"], ids=["Ctrl-D", "Ctrl-C", "space"])
def test_ways_to_end(end: str, terminal) -> None:
    child = terminal("-n", "1")
    child.expect_exact(PROMPT)
    child.send(end)
    assert status(child) == 0
    assert "Interrupted" not in child.before
    assert "Traceback" not in child.before


def test_the_line_before_can_be_edited(terminal) -> None:
    pytest.importorskip("readline")
    child = terminal("--json", "-n", "1")
    child.expect_exact(PROMPT)
    child.sendline("backup")
    child.expect(r'"query": "backup", "hits": .*\r\n')
    child.expect_exact(PROMPT)
    child.send("\x10s\r")  # Ctrl-P
    child.expect(r'"query": "backups", "hits": .*\r\n')
    child.expect_exact(PROMPT)
    child.sendeof()
    assert status(child) == 0
    assert not list(Path(os.environ["HOME"]).iterdir()), "the history is not kept"


def test_a_failure_at_the_prompt(terminal) -> None:
    child = terminal(" ")
    child.expect_exact("Error: the query is empty\r\n")
    child.expect_exact(PROMPT)
    child.sendline("spend")
    child.expect_exact("notes/budget.md:1")
    child.expect_exact(PROMPT)
    child.sendeof()
    # A person has read it.
    assert status(child) == 0


def test_ctrl_c_during_a_search(terminal) -> None:
    child = terminal("-n", "1", "--threads", "1")
    child.expect_exact(PROMPT)
    # Seconds of work; the line is taken once it is followed by a line break.
    child.sendline("a " * 7_000)
    child.expect_exact("\r\n")
    child.expect(pexpect.TIMEOUT, timeout=0.4)
    child.sendintr()
    child.expect_exact("Interrupted.\r\n")
    child.expect_exact(PROMPT)
    child.sendline("spend")
    child.expect(r"1  notes/\w+\.md:1 +[●○]{5}\r\n")
    child.expect_exact(PROMPT)
    child.sendintr()
    assert status(child) == 0


def test_a_rebuild_with_another_model_meanwhile(
    tmp_path: Path, converted, few: Path, terminal
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "backup.md").write_text("Every night, kept for thirty days.\n")
    with Collection(tmp_path / "notes.db", converted("qwen3", "retrieval", "F32")) as collection:
        collection.index(tmp_path / "notes")
    child = terminal("-d", str(tmp_path / "notes.db"))
    for rebuild in (False, True, False):
        child.expect(PROMPT)
        if rebuild:
            with Collection(tmp_path / "notes.db", few) as collection:
                collection.index(rebuild=True)
        child.sendline("how long")
        child.expect("backup.md")
        assert "Error" not in child.before
    child.expect(PROMPT)
    child.sendline("")
    assert status(child) == 0


def test_prompts_do_not_mix_with_results(notes: Path) -> None:
    output = notes / "answers.txt"
    command = f"{sys.executable} {' '.join(ARGUMENTS)} -n 1 > answers.txt"
    child = pexpect.spawn("sh", ["-c", command], cwd=notes, timeout=WAIT, encoding="utf-8")
    for query in ("backups", "spend"):
        child.expect_exact(PROMPT)
        child.sendline(query)
    child.expect_exact(PROMPT)
    child.sendeof()
    assert status(child) == 0
    lines = output.read_text().splitlines()
    assert [line for line in lines if line[:1] == ">"] == ["> backups", "> spend"]
    assert len(lines) == 8
