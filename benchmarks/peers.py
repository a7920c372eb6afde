"""One program that embeds: `python peers.py NAME MODEL`, a process that waits for work.

Each line on standard input is JSON: {"texts": file, "vectors": file}. The answer is a line of
JSON with the seconds that embedding took and the peak memory of the process in bytes. With `--once
TEXT` it embeds one text, prints the vector and ends.

Each peer imports only what it needs, since the time to start is measured too.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jlocal.llama.threads import default_threads

Embed = Callable[[list[str]], Any]
DEVICES = ("cpu", "cuda")
THREADS = default_threads()  # all peers compute with as many


@dataclass(frozen=True)
class Setting:
    """How a peer should load its model.

    Attributes:
        model: a GGUF file, or a checkpoint for sentence-transformers.
        device: "cpu" or "cuda".
        longest: the maximum number of tokens in a text, for peers that need it at the start.

    """

    model: str
    device: str
    longest: int

    @property
    def gpu_layers(self) -> int:
        """All layers on a GPU, or none."""
        if self.device == "cpu":
            return 0
        from jlocal.llama.library import api

        if not api.llama_supports_gpu_offload():
            sys.exit("llama-cpp-python was compiled without a GPU backend, or there is no GPU")
        return -1


def _jlocal(setting: Setting, layers: int, **options: Any) -> Embed:
    from jlocal import Embedder

    embedder = Embedder(setting.model, threads=THREADS, gpu_layers=layers, **options)
    LOADED["compute_type"] = embedder.compute_type
    return lambda texts: embedder.encode(texts, prompt="")


def jlocal(setting: Setting) -> Embed:
    """Run jlocal with its defaults."""
    return _jlocal(setting, setting.gpu_layers)


def pooled(setting: Setting) -> Embed:
    """Run jlocal with llama.cpp's own pooling, vocabulary head included."""
    return _jlocal(setting, setting.gpu_layers, capture=False)


def jlocal_stored(setting: Setting) -> Embed:
    """Run jlocal with the weights as they are in the file."""
    return _jlocal(setting, setting.gpu_layers, compute_type="stored")


def jlocal_bfloat16(setting: Setting) -> Embed:
    """Run jlocal with its own bfloat16 kernels."""
    return _jlocal(setting, setting.gpu_layers, compute_type="bfloat16")


def jlocal_int8(setting: Setting) -> Embed:
    """Run jlocal with its own int8 kernels."""
    return _jlocal(setting, setting.gpu_layers, compute_type="int8")


def jlocal_0_1(setting: Setting) -> Embed:
    """Run jlocal without its own kernels, as its version 0.1.0."""
    os.environ["JLOCAL_KERNELS"] = "0"
    return _jlocal(setting, setting.gpu_layers)


def jlocal_no_layers(setting: Setting) -> Embed:
    """Run jlocal with --gpu-layers 0 and a visible GPU."""
    return _jlocal(setting, 0)


def _llama_embed(setting: Setting, batch: int) -> Embed:
    import llama_cpp

    # A batch is computed by itself, so a longer context would only take memory.
    llama = llama_cpp.Llama(
        setting.model, embedding=True, n_ctx=batch, n_batch=batch, n_ubatch=batch,
        n_threads=THREADS, n_threads_batch=THREADS, n_gpu_layers=setting.gpu_layers,
        flash_attn=True, verbose=False,
    )  # fmt: skip
    return lambda texts: llama.embed(texts, normalize=True)


def llama_embed_512(setting: Setting) -> Embed:
    """`Llama.embed` of llama-cpp-python; a batch of 512 is its default."""
    return _llama_embed(setting, 512)


def llama_embed_2048(setting: Setting) -> Embed:
    """`Llama.embed` with batches that longer texts fit into."""
    return _llama_embed(setting, 2048)


def llama_embed_longest(setting: Setting) -> Embed:
    """`Llama.embed` with batches that the longest text fits into."""
    return _llama_embed(setting, max(512, setting.longest))


def _sentence_transformers(setting: Setting, dtype: str) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    transformer = SentenceTransformer(
        setting.model, device=setting.device, model_kwargs={"torch_dtype": getattr(torch, dtype)}
    )
    return lambda texts: transformer.encode(texts, prompt="", normalize_embeddings=True)


def st_bfloat16(setting: Setting) -> Embed:
    """sentence-transformers in bfloat16."""
    return _sentence_transformers(setting, "bfloat16")


def st_bfloat16_avx512(setting: Setting) -> Embed:
    """sentence-transformers in bfloat16, without AMX."""
    # oneDNN reads it when torch is loaded.
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_BF16"
    return _sentence_transformers(setting, "bfloat16")


def st_float32(setting: Setting) -> Embed:
    """sentence-transformers with its defaults."""
    return _sentence_transformers(setting, "float32")


def llama_server(setting: Setting) -> Embed:
    """llama-server over HTTP on loopback, all texts in one request."""
    import server

    port = server.free_port()
    layers = "0" if setting.device == "cpu" else "all"
    process = subprocess.Popen(
        server.command(setting.model, port, THREADS, setting.longest, layers),
        stdout=subprocess.DEVNULL,
    )
    atexit.register(process.kill)
    LOADED["server"] = process.pid
    server.wait(process, port)
    return lambda texts: server.embed(port, texts)


# What the ready line says of the loaded peer.
LOADED: dict[str, Any] = {}
PEERS: dict[str, Callable[[Setting], Embed]] = {
    function.__name__: function
    for function in (
        jlocal, jlocal_stored, jlocal_bfloat16, jlocal_int8, jlocal_0_1, jlocal_no_layers, pooled,
        llama_embed_512, llama_embed_2048, llama_embed_longest, llama_server, st_bfloat16,
        st_bfloat16_avx512, st_float32,
    )
}  # fmt: skip


def why_not(name: str, longest: int) -> str | None:
    """Return the reason why a peer cannot take part, or None."""
    if name == "llama_server" and not shutil.which("llama-server"):
        return "no llama-server on PATH"
    if name.startswith("st_") and not importlib.util.find_spec("sentence_transformers"):
        return "sentence-transformers is not installed"
    batch = name.removeprefix("llama_embed_")
    if batch.isdigit() and longest > int(batch):
        return "it would cut the texts to its batch"  # without a word
    return None


def takes_checkpoint(name: str) -> bool:
    """Tell whether a peer reads a checkpoint, not a GGUF file."""
    return name.startswith("st_")


def main() -> None:
    """Load the model, report it, and work until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("model")
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--once", metavar="TEXT")
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    embed = PEERS[options.name](Setting(options.model, options.device, options.longest))
    if options.once is not None:
        print(*embed([options.once])[0], file=answers)
        return
    print(json.dumps(LOADED), file=answers, flush=True)
    _work(embed, answers)


def _work(embed: Embed, answers: Any) -> None:
    import numpy as np
    from processes import peak_memory

    for line in sys.stdin:
        job = json.loads(line)
        texts = json.loads(Path(job["texts"]).read_text())
        begin = time.perf_counter()
        vectors = embed(texts)
        seconds = time.perf_counter() - begin
        np.save(job["vectors"], np.asarray(vectors, dtype=np.float32))
        answer = {"seconds": seconds, "peak": peak_memory(LOADED.get("server"))}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
