"""Full-size checkpoints with random weights, and the files that each peer needs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support import checkpoints  # noqa: E402

SHAPES: dict[str, dict[str, Any]] = {
    # Qwen3-0.6B and EuroBERT-210m, the backbones of small and nano.
    "small": dict(hidden=1024, layers=28, heads=16, kv_heads=8, head_dim=128, ffn=3072),
    "nano": dict(hidden=768, layers=12, heads=12, kv_heads=12, ffn=3072),
    "tiny": dict(hidden=128, layers=2, heads=4, kv_heads=2, head_dim=32, ffn=256),
}
BACKBONES: dict[str, checkpoints.Backbone] = {
    "small": "qwen3",
    "nano": "eurobert",
    "tiny": "qwen3",
}


def checkpoint(name: str, folder: Path) -> Path:
    """Make a merged checkpoint that transformers can read too, if it does not exist."""
    target = folder / name
    if not (target / "config.json").exists():
        base = folder / f"{name}-base"
        checkpoints.build(base, BACKBONES[name], tasks=("retrieval",), rank=32, **SHAPES[name])
        partial = folder / f"{name}-partial"
        shutil.rmtree(partial, ignore_errors=True)
        checkpoints.merged(base, "retrieval", partial)
        shutil.rmtree(base)
        _for_sentence_transformers(partial)
        partial.rename(target)
    return target


def gguf(name: str, kind: str, folder: Path) -> Path:
    """Make a GGUF file of `checkpoint`, if it does not exist."""
    output = folder / "gguf"
    found = list(output.glob(f"{name}*-{kind}.gguf"))
    if found:
        return found[0]
    from jlocal_convert import convert

    (path,) = convert(checkpoint(name, folder), tasks=("retrieval",), types=(kind,), output=output)
    return path


def files(name: str, kind: str, folder: Path) -> tuple[Path, Path]:
    """Make both, if they do not exist."""
    return gguf(name, kind, folder), checkpoint(name, folder)


def weights(path: Path, compute_type: str) -> int:
    """Return the bytes of a GGUF file's weights in memory, in a compute type."""
    from jlocal.gguf.header import read_header
    from jlocal.llama.choice import weights_size
    from jlocal.llama.kernels import kernels

    return weights_size(read_header(path), compute_type, kernels().families)


def operations_per_token(name: str) -> int:
    """Return the operations of the layers' matrix products, without attention and vocabulary."""
    return 2 * sum(rows * columns for _, rows, columns in _shape(name).projections())


def cache_per_token(name: str) -> int:
    """Return the bytes of a KV cache in float16."""
    shape = _shape(name)
    return 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim


def _shape(name: str) -> checkpoints.Shape:
    return checkpoints.shape_of(BACKBONES[name], **SHAPES[name])


def _for_sentence_transformers(folder: Path) -> None:
    """Write last-token pooling in the form that sentence-transformers reads without remote code."""
    library = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{library}.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": f"{library}.Pooling",
        },
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    pooling = {"word_embedding_dimension": width, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
