"""What a server imports before it is asked anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# A lazy server prints its modules when it has answered its first request, and ends.
_FIRST_ANSWER = """
import sys, threading, urllib.request
from jlocal.server.options import ServerOptions
from jlocal.server.run import serve

servers = []

def ask(url):
    with urllib.request.urlopen(url + "/health", timeout=60) as answer:
        print(answer.status, *sorted(sys.modules))
    servers[0].should_exit = True

def on_ready(url):
    threading.Thread(target=ask, args=(url,)).start()

options = ServerOptions(models=("starter",), port=0, is_lazy=True)
serve(options, on_ready, logs=False, on_start=servers.append)
"""


def test_a_lazy_server_answers_before_it_imports_what_computes_and_what_searches() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_ANSWER], capture_output=True, text=True, check=True
    )
    status, *modules = done.stdout.split()
    assert status == "200"
    assert "jlocal.server.protocols.search" in modules
    heavy = {
        "llama_cpp", "numpy", "pydantic", "torch",  # what computes
        "sqlite3", "jlocal.collection.collection", "jlocal.excerpts.excerpt",  # what searches
        "mcp", "jlocal.mcp.app", "jlocal.map.picture", "huggingface_hub.hf_api", "gguf",
    }  # fmt: skip
    assert not heavy.intersection(modules)
