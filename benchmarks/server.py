"""llama-server: its start, and its HTTP requests for vectors."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from typing import Any


def command(model: str, port: int, threads: int, longest: int, layers: str = "0") -> list[str]:
    """Return the command line for texts of up to `longest` tokens.

    As the model card has it: a text must fit into one physical batch.
    """
    program = shutil.which("llama-server")
    assert program, "llama-server is not on PATH"
    batch = str(max(2048, longest))
    return [
        program, "-m", model, "--embedding", "--pooling", "last", "--port", str(port),
        "-c", "32768", "-b", batch, "-ub", batch, "-t", str(threads), "-fa", "on", "-ngl", layers,
    ]  # fmt: skip


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait(process: subprocess.Popen[Any], port: int) -> None:
    """Wait until the server has loaded its model.

    Raises:
        OSError: it ended instead.

    """
    import urllib.request

    while process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
            return
        time.sleep(0.01)
    raise OSError("the server ended before it was ready")


def embed(port: int, texts: list[str]) -> list[list[float]]:
    """Embed all texts in one request."""
    import urllib.request

    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/embeddings",
        json.dumps({"input": texts}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return [row["embedding"] for row in json.load(answer)["data"]]
