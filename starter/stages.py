"""Stages of a long run: each stores its result in a file, and is not repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Weights = dict[str, torch.Tensor]


def kept(
    path: Path,
    make: Callable[[], Any],
    load: Callable[[Path], Any],
    save: Callable[[Path, Any], None],
) -> Any:
    """Load the stored result of a stage, or make and store it."""
    if not path.exists():
        print(f"{path.stem}:", flush=True)
        aside = path.with_name(f"partial-{path.name}")
        save(aside, make())
        aside.replace(path)
    return load(path)


def load_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def save_json(path: Path, values: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(values), encoding="utf-8")


def load_weights(path: Path) -> Weights:
    """Read weights; a file with other objects is refused."""
    weights: Weights = torch.load(path, weights_only=True)
    return weights


def save_weights(path: Path, weights: Weights) -> None:
    """Write weights."""
    torch.save(weights, path)
