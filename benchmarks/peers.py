"""One program that embeds, as a process that waits for work: `python peers.py NAME MODEL`.

Each line on standard input is JSON: {"texts": file, "vectors": file}. The answer is a line of
JSON with the seconds that embedding took and the peak memory of the process in bytes.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[list[str]], Any]
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jlocal(model: str) -> Embed:
    """Ours, as it comes."""
    from jlocal import Embedder

    embedder = Embedder(model)
    return lambda texts: embedder.encode(texts, prompt="")


def pooled(model: str) -> Embed:
    """Ours with llama.cpp's own pooling, vocabulary head included."""
    from jlocal import Embedder

    embedder = Embedder(model, capture=False)
    return lambda texts: embedder.encode(texts, prompt="")


def _llama_cpp_python(model: str, batch: int) -> Embed:
    import llama_cpp

    llama = llama_cpp.Llama(
        model, embedding=True, n_ctx=32768, n_batch=batch, n_ubatch=batch,
        n_threads=THREADS, n_threads_batch=THREADS, flash_attn=True, verbose=False,
    )  # fmt: skip
    return lambda texts: llama.embed(texts, normalize=True)


def llama_embed_512(model: str) -> Embed:
    """`Llama.embed` of llama-cpp-python; a batch of 512 is its default."""
    return _llama_cpp_python(model, 512)


def llama_embed_2048(model: str) -> Embed:
    """`Llama.embed` with batches in which long texts fit too."""
    return _llama_cpp_python(model, 2048)


def _sentence_transformers(model: str, dtype: str) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    transformer = SentenceTransformer(
        model, device="cpu", model_kwargs={"torch_dtype": getattr(torch, dtype)}
    )
    return lambda texts: transformer.encode(texts, normalize_embeddings=True)


def st_bfloat16(model: str) -> Embed:
    """sentence-transformers in bfloat16."""
    return _sentence_transformers(model, "bfloat16")


def st_float32(model: str) -> Embed:
    """sentence-transformers as it comes."""
    return _sentence_transformers(model, "float32")


def llama_server(model: str) -> Embed:
    """llama-server over HTTP on loopback, all texts in one request."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = shutil.which("llama-server")
    assert program, "llama-server is not on PATH"
    server = subprocess.Popen(
        [program, "-m", model, "--embedding", "--pooling", "last", "--port", str(port),
         "-c", "32768", "-b", "2048", "-ub", "2048", "-t", str(THREADS), "-fa", "on"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health").close()
            break
        except OSError:
            time.sleep(0.1)
    PEAK_OF.append(server.pid)

    def embed(texts: list[str]) -> Any:
        request = urllib.request.Request(
            f"{url}/v1/embeddings",
            json.dumps({"input": texts}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return [row["embedding"] for row in json.load(answer)["data"]]

    return embed


PEAK_OF: list[int] = []
PEERS: dict[str, Callable[[str], Embed]] = {
    function.__name__: function
    for function in (
        jlocal, pooled, llama_embed_512, llama_embed_2048, st_bfloat16, st_float32, llama_server,
    )
}  # fmt: skip


def peak_memory() -> int:
    """Peak resident memory in bytes, of the server where there is one."""
    if PEAK_OF:
        status = Path(f"/proc/{PEAK_OF[0]}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(name: str, model: str) -> None:
    """Load, say so, and work until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    embed = PEERS[name](model)
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        texts = json.loads(Path(job["texts"]).read_text())
        start = time.perf_counter()
        vectors = embed(texts)
        seconds = time.perf_counter() - start
        np.save(job["vectors"], np.asarray(vectors, dtype=np.float32))
        answer = {"seconds": seconds, "peak": peak_memory()}
        print(json.dumps(answer), file=answers, flush=True)
    for pid in PEAK_OF:
        os.kill(pid, 15)


if __name__ == "__main__":
    main(*sys.argv[1:])
