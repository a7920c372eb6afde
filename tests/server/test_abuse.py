"""Clients that are slow, large, broken or gone hold nobody up."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import pytest

from jlocal import Embedder
from jlocal.server import access
from jlocal.server.options import Limits, ServerOptions, Timeouts
from support.alike import cosines
from support.escapes import BAD, leaks
from support.servers import Running, running, served

OPTIONS = ServerOptions(models=("starter",), port=0)
HEAD = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def connected(server: Running | str) -> socket.socket:
    parts = urlsplit(server if isinstance(server, str) else server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def answer_of(connection: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            answer += part
    return answer


def is_well(url: str) -> bool:
    body = {"model": "starter", "input": "a"}
    return httpx.post(f"{url}/v1/embeddings", json=body, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"\xff\xfe", 400),
        (b'{"input": NaN}', 400),
        (b'{"input": "\\ud800"}', 400),
        (b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"input": 1e999}', 400),
        (b'{"input": {"a": 1}}', 400),
        (b'{"input": "a", "dimensions": 1e3}', 400),
        (b'{"input": "a", "dimensions": true}', 400),
        (b'{"input": "a", "model": 7}', 400),
        (b'{"input": "a", "truncate": "yes"}', 400),
        (b'{"input": "a", "model": "/etc/passwd"}', 404),
        (b'{"input": "a", "model": "../../x.gguf"}', 404),
    ],
)
def test_bad_bodies_are_refused(server: Running, body: bytes, status: int) -> None:
    answer = httpx.post(f"{server.url}/v1/embeddings", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert "\n" not in answer.json()["error"]["message"]


@pytest.mark.slow
def test_a_bad_text_fails_only_its_own_request(server: Running, starter: Embedder) -> None:
    texts = [f"text {number}" for number in range(24)]

    def ask(number: int) -> httpx.Response:
        text = "word " * 9000 if number % 3 == 0 else texts[number]
        body = {"model": "starter", "input": [text]}
        return httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=60)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(24)))
    assert [answer.status_code for answer in answers] == [400, 200, 200] * 8
    good = [number for number in range(24) if number % 3]
    rows = [answers[number].json()["data"][0]["embedding"] for number in good]
    expected = starter.encode([texts[number] for number in good])
    assert cosines(np.array(rows), expected).min() > 0.99999


def test_a_body_above_the_limit_is_refused_before_it_is_read() -> None:
    with served(replace(OPTIONS, limits=Limits(body=1 << 16))) as url:
        with connected(url) as connection:
            connection.sendall(f"{HEAD}Content-Length: {1 << 40}\r\n\r\n".encode())
            assert b" 400 " in answer_of(connection)[:20]
        with connected(url) as connection:  # without a length
            connection.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    connection.sendall(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
            assert b" 400 " in answer_of(connection)[:20]
        assert is_well(url)


def test_slow_clients_are_closed() -> None:
    timeouts = Timeouts(headers=1, body=1)
    with served(replace(OPTIONS, timeouts=timeouts)) as url:
        with connected(url) as silent, connected(url) as dribbling, connected(url) as half:
            dribbling.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHo")
            half.sendall(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
            assert answer_of(silent) == b""
            assert answer_of(dribbling) == b""
            assert b" 408 " in answer_of(half)[:20]
        assert is_well(url)


def test_connections_above_the_limit_are_closed() -> None:
    with served(replace(OPTIONS, limits=Limits(connections=8))) as url:
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(connected(url))
            time.sleep(0.2)
            with connected(url) as refused:
                assert answer_of(refused) == b""
        time.sleep(0.2)
        assert is_well(url)


@pytest.mark.slow
def test_a_client_that_has_left_takes_its_work_with_it(server: Running) -> None:
    texts = [f"{'word ' * 200} {number}" for number in range(2000)]
    body = json.dumps({"model": "starter", "input": texts}).encode()
    with connected(server) as connection:
        connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        _wait_for_queue(server.url)
    deadline = time.monotonic() + 10
    while _queued(server.url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _queued(server.url) == 0
    assert is_well(server.url)


def _queued(url: str) -> int:
    models = httpx.get(f"{url}/status", timeout=30).json()["models"]
    return int(sum(model["queued_tokens"] for model in models))


def _wait_for_queue(url: str) -> None:
    deadline = time.monotonic() + 60
    while not _queued(url):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_full_queue_says_when_to_come_back() -> None:
    limits = Limits(queued_tokens=2000)
    many = {"model": "starter", "input": [f"{'word ' * 100} {n}" for n in range(1500)]}
    few = {"model": "starter", "input": [f"{'word ' * 100} {n}" for n in range(20)]}
    with served(replace(OPTIONS, limits=limits)) as url, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(httpx.post, f"{url}/v1/embeddings", json=many, timeout=120)
        _wait_for_queue(url)
        refused = httpx.post(f"{url}/v1/embeddings", json=few, timeout=60)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert busy.result().status_code == 200


@pytest.mark.slow
def test_a_term_signal_lets_running_requests_end() -> None:
    body = {"model": "starter", "input": [f"{'word ' * 200} {n}" for n in range(80)]}
    with running("-m", "starter") as server, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(httpx.post, f"{server.url}/v1/embeddings", json=body, timeout=120)
        _wait_for_queue(server.url)
        server.process.send_signal(signal.SIGTERM)
        assert busy.result().status_code == 200
        assert server.process.wait(60) == 0
        assert not any("Traceback" in line for line in server.log)


@pytest.mark.slow
def test_a_request_that_outlasts_the_end_of_the_server_is_to_be_sent_again() -> None:
    body = {"model": "starter", "input": [f"{'word ' * 200} {n}" for n in range(2000)]}
    options = replace(OPTIONS, timeouts=Timeouts(drain=1))
    with ThreadPoolExecutor(1) as pool:
        with served(options) as url:
            busy = pool.submit(httpx.post, f"{url}/v1/embeddings", json=body, timeout=120)
            _wait_for_queue(url)
        answer = busy.result()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "send the request again" in answer.json()["error"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_idle_server_ends_at_once(name: str) -> None:
    if not hasattr(signal, name):
        pytest.skip("Windows has no such signal")
    with running("-m", "starter", "--lazy", "-q") as server:
        assert is_well(server.url)
        assert server.stop(getattr(signal, name)) == 0
    assert server.log == []


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_no_request() -> None:
    body = {"model": "starter", "input": [f"{'word ' * 200} {n}" for n in range(2000)]}
    with running("-m", "starter", "-q") as server, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(httpx.post, f"{server.url}/v1/embeddings", json=body, timeout=120)
        _wait_for_queue(server.url)
        server.process.send_signal(signal.SIGINT)
        # The first was taken when no more connections are.
        with contextlib.suppress(OSError):
            while True:
                connected(server).close()
                time.sleep(0.01)
        assert server.process.poll() is None
        assert server.stop(signal.SIGINT) == 130
        assert isinstance(busy.exception(), httpx.HTTPError)
    assert server.log == ["Interrupted.\n"]


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(server: Running) -> None:
    port = str(urlsplit(server.url).port)
    command = [sys.executable, "-m", "jlocal", "serve", "-m", "starter", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "choose another address or port" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-d", "nope"), "no collection named nope"),
        (("-d", "garbage.db"), "garbage.db"),
        (("-m", "nope"), "no model 'nope'"),
        (("--host", "192.0.2.1", "--no-auth"), "another address or port"),
    ],
)
def test_what_cannot_be_served_is_said_before_it_starts(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    (tmp_path / "garbage.db").write_bytes(b"garbage" * 1000)
    command = [sys.executable, "-m", "jlocal", "serve", "--port", "0", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_models_above_the_limit_take_turns(tmp_path: object) -> None:
    options = replace(OPTIONS, models=("starter", "other=starter"), limits=Limits(loaded_models=1))
    with served(options) as url:
        for name in ("starter", "other", "starter:query"):
            body = {"model": name, "input": "a"}
            assert httpx.post(f"{url}/v1/embeddings", json=body, timeout=60).status_code == 200


def test_no_text_is_in_the_log(server: Running) -> None:
    secret = "a-secret-in-a-text"
    for body in ({"model": "starter", "input": secret}, {"model": secret, "input": secret * 9}):
        httpx.post(f"{server.url}/v1/embeddings", json=body)
    httpx.post(f"{server.url}/v1/embeddings?{secret}", json={"input": 1})
    assert not any(secret in line for line in server.log)


def test_a_path_forges_no_line_of_the_log(server: Running) -> None:
    before = len(server.log)
    for method in ("GET", "POST"):
        httpx.request(method, f"{server.url}/{quote(BAD)}/search")
    while len(server.log) < before + 2:
        time.sleep(0.01)
    assert all(" 404 " in line for line in server.log[before:])
    assert leaks("".join(server.log).encode()) == []


def test_a_failure_is_told_from_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    access.log("abc failed:", f"Traceback\n  line 1\nValueError: {BAD}\n")
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith(" abc failed:")
    assert len(others) == 4
    assert all(line.startswith("    ") for line in others)
    assert leaks("\n".join(others).encode()) == []
