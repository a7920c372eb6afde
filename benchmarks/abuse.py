"""Mixed abuse of a running `jlocal serve`, during which no good request may fail.

python benchmarks/abuse.py --minutes 10

One process sends good requests over 8 connections, and counts those that fail, are late, or get
another vector than before. Other processes disconnect halfway, send slowly, send huge and broken
bodies and wrong keys, cancel requests, and are killed while they wait.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from processes import child, environment, peak_memory

import server

KEY = "a-key"
HEAD = (
    "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer {KEY}\r\n"
)
_LATE = 30  # seconds


def post(port: int, body: bytes, key: str = KEY, path: str = "/v1/embeddings") -> bytes:
    """Send a request, and return the body of its answer."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    with urllib.request.urlopen(asked, timeout=_LATE) as answer:
        content: bytes = answer.read()
        return content


def body_of(*texts: str) -> bytes:
    """Make the body of a good request."""
    return json.dumps({"model": "starter", "input": texts}).encode()


def connected(port: int) -> socket.socket:
    """Connect."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def leave(port: int) -> None:
    """Send a whole request of many texts, and close the connection."""
    body = body_of(*(f"{'word ' * 50} {number}" for number in range(random.randint(1, 500))))
    with connected(port) as connection:
        connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(random.random() / 5)


def send_half(port: int) -> None:
    """Send half a request, slowly, and close the connection."""
    with connected(port) as connection:
        for letter in f"{HEAD}Content-Length: 1000\r\n\r\n{{"[: random.randint(1, 150)]:
            connection.sendall(letter.encode())
            time.sleep(0.005)


def send_huge(port: int) -> None:
    """Announce, or send, a body above the server's limit."""
    with connected(port) as connection, contextlib.suppress(OSError):
        if random.random() < 0.5:
            connection.sendall(f"{HEAD}Content-Length: {1 << 40}\r\n\r\n".encode() + b"x" * 65536)
        else:
            connection.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
            for _ in range(40):
                connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        connection.recv(1000)


def send_bad(port: int) -> None:
    """Send invalid requests."""
    bodies = (b"{", b"[]", b"\xff", b'{"input": NaN}', b'{"input": [[[]]]}', b"x" * 100000)
    with contextlib.suppress(urllib.error.HTTPError):
        post(port, random.choice(bodies))
    with contextlib.suppress(urllib.error.HTTPError):
        post(port, body_of("word " * 20000))
    with contextlib.suppress(urllib.error.HTTPError):
        post(port, body_of("a"), key="another")
    with connected(port) as connection:
        connection.sendall(random.randbytes(200))


def never_read(port: int) -> None:
    """Ask for a large answer, and do not read it."""
    body = body_of(*(f"text {number}" for number in range(300)))
    with connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(2)


def be_killed(port: int) -> None:
    """Let a client process be killed while it waits."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import abuse\n"
    code += f"abuse.post({port}, abuse.body_of(*['word ' * 40] * 50))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    time.sleep(1 + random.random())
    process.send_signal(signal.SIGKILL)
    process.wait()


ABUSES: tuple[Callable[[int], None], ...] = (
    leave,
    send_half,
    send_huge,
    send_bad,
    never_read,
    be_killed,
)


def abuse(port: int, until: float, number: int) -> None:
    """Abuse the server in all these ways in turn, until a time."""
    random.seed(number)
    while time.time() < until:
        with contextlib.suppress(OSError, urllib.error.URLError):
            random.choice(ABUSES)(port)
        time.sleep(0.05)


def ask(port: int, until: float, number: int, counts: Counter[str], longest: list[float]) -> None:
    """Send good requests, and count their outcomes."""
    expected: dict[int, np.ndarray] = {}
    turn = 0
    while time.time() < until:
        turn += 1
        name = turn % 10
        began = time.perf_counter()
        try:
            data = json.loads(post(port, body_of(f"good text {number} {name}")))
        except Exception as error:  # whatever it is, it counts
            counts[f"failed: {type(error).__name__} {error}"[:100]] += 1
            continue
        longest[0] = max(longest[0], time.perf_counter() - began)
        vector = np.array(data["data"][0]["embedding"])
        same = expected.setdefault(name, vector) @ vector > 0.99999
        counts["good" if same else "failed: another vector"] += 1


def main() -> None:
    """Abuse, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--abusers", type=int, default=6)
    options = parser.parse_args()
    port = server.free_port()
    command = [sys.executable, "-m", "jlocal", "serve", "-m", "starter", "--port", str(port)]
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        env = {**environment(), "JLOCAL_API_KEY": KEY}
        with child(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env) as process:
            server.wait(process, port)
            post(port, body_of("first"))
            until = time.time() + 60 * options.minutes
            abusers = [
                multiprocessing.Process(target=abuse, args=(port, until, number))
                for number in range(options.abusers)
            ]
            counts: Counter[str] = Counter()
            longest = [0.0]
            askers = [
                threading.Thread(target=ask, args=(port, until, number, counts, longest))
                for number in range(8)
            ]
            for worker in (*abusers, *askers):
                worker.start()
            for worker in (*abusers, *askers):
                worker.join()
            for name, count in counts.most_common():
                print(f"{name}: {count:,}")
            print(f"slowest good request: {longest[0]:.1f} s")
            print(f"most memory of the server: {peak_memory(process.pid) / 1e6:,.0f} MB")
            process.terminate()
            print(f"the server ended with {process.wait(60)}")
        text = Path(log.name).read_text()
        print(f"tracebacks in its log: {text.count('Traceback')}")
        statuses = Counter(line.split()[4] for line in text.splitlines() if " POST /" in line)
        print(f"answers by status: {dict(statuses)}")


if __name__ == "__main__":
    main()
