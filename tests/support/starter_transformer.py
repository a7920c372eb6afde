"""The starter's checkpoint as a SentenceTransformer, which torch computes in float32.

The published layout needs remote code, so the adapter is merged into the backbone first.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from support.checkpoints import merged
from support.verify_inputs import STARTER


def starter_transformer(folder: Path, task: str = "retrieval") -> SentenceTransformer:
    """Merge an adapter of the starter into a new folder, and load it."""
    merged(STARTER, task, folder, dtype="F32")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STARTER / name, folder / name)
    (folder / "modules.json").unlink()  # names remote code
    transformer = Transformer(str(folder), model_kwargs={"dtype": torch.float32})
    configured = json.loads((STARTER / "config_sentence_transformers.json").read_text())
    return SentenceTransformer(
        modules=[transformer, Pooling(256, "lasttoken"), Normalize()],
        prompts=configured["prompts"],
        default_prompt_name=configured["default_prompt_name"],
        device="cpu",
    )
