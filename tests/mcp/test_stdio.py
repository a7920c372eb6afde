"""`jlocal mcp` as the process that a client starts: only the protocol is on standard output."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from jlocal import Collection, Embedder

COMMAND = [sys.executable, "-m", "jlocal", "mcp"]
HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    (folder / "tea.txt").write_text("Green tea needs water of 80 degrees.")
    with Embedder("starter", threads=1) as model, Collection(folder / "work.db", model) as made:
        made.index(folder / "tea.txt")
    return folder / "work.db"


def line(method: str, number: int | None = None, **params: object) -> bytes:
    message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
    if number is not None:
        message["id"] = number
    return json.dumps(message).encode() + b"\n"


@pytest.fixture
def started(work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command, and wait for its first answer."""
    process = subprocess.Popen(
        [*COMMAND, "-d", str(work), "--threads", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(line("initialize", 1, **HELLO) + line("notifications/initialized"))
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "jlocal"
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()


def talk(command: list[str], **environment: str) -> Any:
    """Search and read by the SDK's own client; return the hit and the text."""

    async def call() -> Any:
        server = StdioServerParameters(
            command=command[0], args=command[1:], env={**os.environ, **environment}
        )
        async with Client(server) as client:
            found = (await client.call_tool("search", {"query": "hot drinks"})).structured_content
            (hit,) = found["hits"]
            part = await client.call_tool("read", {"document": hit["document"]})
            return hit, part.structured_content["text"]

    return anyio.run(call)


def test_a_client_searches_and_reads(work: Path) -> None:
    hit, text = talk([*COMMAND, "-d", str(work), "--threads", "1"])
    assert hit["document"] == str(work.parent / "tea.txt")
    assert text == "Green tea needs water of 80 degrees."


@pytest.mark.network_namespace
def test_it_works_without_a_network(work: Path) -> None:
    alone = ["unshare", "-rn"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this kernel gives no network namespaces to this user")
    _, text = talk([*alone, *COMMAND, "-d", str(work), "--threads", "1"])
    assert text.startswith("Green tea")


def test_standard_output_holds_only_the_protocol(started: subprocess.Popen[bytes]) -> None:
    call = {"name": "search", "arguments": {"query": "hot drinks"}}
    wrong = {"name": "search", "arguments": {"query": ""}}
    sent = line("tools/call", 2, **call) + b"no JSON \xff\n" + line("tools/call", 3, **wrong)
    assert started.stdin
    assert started.stdout
    started.stdin.write(sent)
    started.stdin.flush()
    lines = []
    while {2, 3} - {one.get("id") for one in lines}:
        lines.append(json.loads(started.stdout.readline()))
    answers = {one["id"]: one["result"] for one in lines if "result" in one}
    assert answers[2]["structuredContent"]["hits"]
    assert answers[3]["isError"]
    assert "the query is empty" in answers[3]["content"][0]["text"]
    stdout, stderr = started.communicate(timeout=60)
    assert all(json.loads(one)["jsonrpc"] == "2.0" for one in stdout.splitlines())
    assert started.returncode == 0
    assert b"Traceback" not in stderr


def test_it_ends_with_its_input(started: subprocess.Popen[bytes]) -> None:
    stdout, stderr = started.communicate(timeout=60)
    assert (started.returncode, stdout, stderr) == (0, b"", b"")


@pytest.mark.skipif(os.name == "nt", reason="signals there are others")
@pytest.mark.parametrize(
    ("number", "says"), [(signal.SIGINT, b"Interrupted.\n"), (signal.SIGTERM, b"")]
)
def test_a_signal_ends_it_while_it_waits(
    started: subprocess.Popen[bytes], number: int, says: bytes
) -> None:
    assert started.stderr
    started.send_signal(number)
    assert started.wait(60) == 128 + number
    assert started.stderr.read() == says


@pytest.mark.skipif(os.name == "nt", reason="pipes there break otherwise")
def test_a_client_that_has_gone_is_no_error(started: subprocess.Popen[bytes]) -> None:
    assert started.stdin
    assert started.stdout
    assert started.stderr
    started.stdout.close()
    started.stdin.write(line("tools/list", 2))
    started.stdin.close()
    started.wait(60)
    assert b"Traceback" not in started.stderr.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        (">/dev/full", "No space left on device"),
        (">&-", "Bad file descriptor"),
        ("<&-", "standard input is closed"),
    ],
)
def test_streams_that_cannot_be_used_are_said(redirection: str, reason: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *COMMAND],
        input=line("initialize", 1, **HELLO), capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"Error: cannot talk to the client: {reason}\n"


def test_a_missing_collection_is_said_at_once() -> None:
    done = subprocess.run([*COMMAND, "-d", "nope"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
